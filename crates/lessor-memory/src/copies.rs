//! Copies of the records that a thread has read most recently, so that it can answer for a hot key
//! without locking the shard.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::store::{Applied, Operation};
use lessor_core::{Clock, Key, Record};

/// A copy of a record. Valid as long as no record of its shard is changed.
struct CachedRecord {
    store: StoreId,
    /// The shard's number of changes when the record was read.
    changes: u64,
    key: Key,
    record: Record,
}

struct Place {
    /// The hash that was read last. A record is copied when its key is read twice in a row.
    hash: u64,
    cached: Option<CachedRecord>,
}

const PLACES: usize = 16;

thread_local! {
    static COPIES: RefCell<[Place; PLACES]> =
        const { RefCell::new([const { Place { hash: 0, cached: None } }; PLACES]) };
}

/// Identifies a store within the process.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct StoreId(u64);

impl StoreId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[inline]
fn place(hash: u64) -> usize {
    usize::try_from(hash % PLACES as u64).unwrap_or_default()
}

/// Answers an operation from the thread's copy of the record. `changes` is the shard's number of
/// changes, read after the operation began, and `clock` is the store's.
#[inline]
pub(super) fn answer(
    store: StoreId,
    hash: u64,
    changes: u64,
    operation: &mut Operation<'_>,
    clock: &dyn Clock,
) -> Option<Applied> {
    let answer = |places: &RefCell<[Place; PLACES]>| {
        let places = places.try_borrow().ok()?;
        let place = places.get(place(hash))?;
        let cached = place.cached.as_ref().filter(|_| place.hash == hash)?;
        if cached.store != store
            || cached.changes != changes
            || cached.key.as_bytes() != operation.key_bytes()
        {
            return None;
        }
        operation.answer_recent(&cached.record, clock.recent())
    };
    COPIES.try_with(answer).ok().flatten()
}

/// Keeps a copy of a record that was read, if it is small and the previous read was of the same
/// key.
#[inline]
pub(super) fn keep(store: StoreId, hash: u64, changes: u64, key: &Key, record: &Record) {
    let _ = COPIES.try_with(|places| {
        let Ok(mut places) = places.try_borrow_mut() else { return };
        let Some(place) = places.get_mut(place(hash)) else { return };
        if place.hash != hash {
            place.hash = hash;
            return;
        }
        place.cached = is_small(record).then(|| CachedRecord {
            store,
            changes,
            key: key.clone(),
            record: record.clone(),
        });
    });
}

/// Returns whether a copy may outlive the record.
fn is_small(record: &Record) -> bool {
    record.result_len().unwrap_or(0) <= 64 && record.checkpoint_len().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::time::Duration;

    use lessor_core::{Acquisition, Engine, Lease};

    use crate::MemoryStore;

    use super::*;

    /// Returns the number of copies that this thread has.
    fn copies() -> usize {
        COPIES.with_borrow(|places| places.iter().filter(|place| place.cached.is_some()).count())
    }

    /// A copy keeps the parts of its record alive, such as a failure's details of up to a megabyte.
    #[test]
    fn only_small_records_that_a_copy_may_answer_for_are_copied() {
        let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
        let acquire = |key: &str| engine.acquire(key).wait().unwrap();
        let read = |key: &str, end: &dyn Fn(&Lease)| {
            let Acquisition::Acquired(lease) = acquire(key) else { unreachable!("a fresh key is granted") };
            end(&lease);
            let before = copies();
            (0..4).for_each(|_| drop(acquire(key)));
            copies() - before
        };
        let fail = |lease: &Lease| assert!(lease.fail_with("code", &"x".repeat(1 << 20)).wait().is_ok());
        assert_eq!(read("failed", &fail), 0);
        assert_eq!(read("long", &|lease| assert!(lease.complete_bytes(&[0; 65]).wait().is_ok())), 0);
        assert_eq!(read("checkpoint", &|lease| assert!(lease.checkpoint_bytes(&[0]).wait().is_ok())), 0);
        assert_eq!(read("short", &|lease| assert!(lease.complete_bytes(&[0; 64]).wait().is_ok())), 1);
    }

    /// The copy is not used in the last second of the lease.
    #[test]
    fn a_copy_does_not_answer_in_the_last_second_of_a_lease() {
        let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
        let held = engine.acquire("key").ttl(Duration::from_millis(999)).wait().unwrap();
        (0..4).for_each(|_| drop(engine.acquire("key").wait().unwrap()));
        assert_eq!(copies(), 0);
        drop(held);
    }
}
