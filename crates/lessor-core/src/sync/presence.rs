//! Which keys are watched, for writers that must not take a lock to find out.
//!
//! A writer asks after each write whether its key is watched. Almost always it is not, and the answer takes two loads then: how many keys are
//! watched at all, and how many of those share a slot with this one.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use crate::sync::primitives::{AtomicUsize, Ordering, PRESENCE_SLOTS};

/// A count of watched keys per slot. It orders nothing by itself: see the fences of
/// [`registry`](crate::run::wait::registry).
pub(crate) struct Presence {
    all: AtomicUsize,
    slots: Box<[AtomicUsize]>,
    hasher: RandomState,
}

impl Default for Presence {
    fn default() -> Self {
        let slots = (0..PRESENCE_SLOTS).map(|_| AtomicUsize::new(0)).collect();
        Self { all: AtomicUsize::new(0), slots, hasher: RandomState::default() }
    }
}

impl Presence {
    /// Returns the number of watched keys.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// Returns whether `key`, or another key of its slot, is watched.
    #[inline]
    pub(crate) fn may_have(&self, key: &impl Hash) -> bool {
        self.count() > 0 && self.slot(key).is_some_and(|slot| slot.load(Ordering::Relaxed) > 0)
    }

    pub(crate) fn add(&self, key: &impl Hash) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.slot(key) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove(&self, key: &impl Hash) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = self.slot(key) {
            slot.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn slot(&self, key: &impl Hash) -> Option<&AtomicUsize> {
        let hash = self.hasher.hash_one(key);
        let place = usize::try_from(hash % self.slots.len().max(1) as u64).ok()?;
        self.slots.get(place)
    }
}

// The model checker has its own.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_reported_from_its_first_watcher_to_its_last() {
        let presence = Presence::default();
        assert!(!presence.may_have(&"key"));
        presence.add(&"key");
        presence.add(&"key");
        presence.remove(&"key");
        assert!(presence.may_have(&"key"));
        presence.remove(&"key");
        assert!(!presence.may_have(&"key"));
    }

    /// Each write took the lock of all watched keys as soon as one lease was watched, which held up that lease's renewals.
    #[test]
    fn most_keys_are_not_reported_while_some_are_watched() {
        let presence = Presence::default();
        (0..16).for_each(|number| presence.add(&number));
        let reported = (1_000..2_000).filter(|number| presence.may_have(number)).count();
        assert!(reported < 250, "{reported} of 1000 keys that nobody watches were reported");
    }
}
