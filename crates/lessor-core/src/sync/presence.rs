//! A counting filter of the watched keys. Writers query it without taking a lock.
//!
//! After each write, the writer queries whether its key is watched. Almost always it is not, and
//! the query takes two atomic loads: the number of all watched keys, and the number of those in the
//! key's slot.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use crate::sync::primitives::{AtomicUsize, Ordering, PRESENCE_SLOTS};

/// Counts of watched keys, in total and per slot. All accesses are relaxed; the ordering comes from
/// the fences in [`registry`](crate::run::wait::registry).
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
        let index = usize::try_from(hash % self.slots.len().max(1) as u64).ok()?;
        self.slots.get(index)
    }
}

// These tests use std's atomics, so they do not run under the model checker.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_reported_until_its_last_watcher_is_removed() {
        let presence = Presence::default();
        assert!(!presence.may_have(&"key"));
        presence.add(&"key");
        presence.add(&"key");
        presence.remove(&"key");
        assert!(presence.may_have(&"key"));
        presence.remove(&"key");
        assert!(!presence.may_have(&"key"));
    }

    /// As soon as one lease was watched, each write took the lock of all watched keys, which
    /// delayed the renewals of that lease.
    #[test]
    fn most_unwatched_keys_are_not_reported_while_others_are_watched() {
        let presence = Presence::default();
        (0..16).for_each(|number| presence.add(&number));
        let reported = (1_000..2_000).filter(|number| presence.may_have(number)).count();
        assert!(reported < 250, "{reported} of 1000 unwatched keys were reported");
    }
}
