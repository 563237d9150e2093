//! The records that a thread has read most recently, so that it can answer for a hot key without the shard's lock.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::store::{Applied, Operation};
use lessor_core::{Key, Record, Timestamp};

/// A copy of a record, which counts as long as no record of its shard was changed.
struct Sighting {
    store: StoreId,
    /// The shard's count of changes when the record was read.
    changes: u64,
    key: Key,
    record: Record,
    /// The time at which the record was read. An answer is not earlier.
    read_at: Timestamp,
}

struct Place {
    /// The hash that was read last. A record is copied when its key is read twice in a row.
    hash: u64,
    sighting: Option<Sighting>,
}

const PLACES: usize = 16;

thread_local! {
    static SIGHTINGS: RefCell<[Place; PLACES]> =
        const { RefCell::new([const { Place { hash: 0, sighting: None } }; PLACES]) };
}

/// Tells the stores of a process apart.
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

/// Answers an operation by the thread's copy of the record. `changes` is the shard's count, read after the operation began, and
/// `recent` a recent time of the store's clock.
#[inline]
pub(super) fn answer(
    store: StoreId,
    hash: u64,
    changes: u64,
    operation: &mut Operation<'_>,
    recent: impl FnOnce() -> Timestamp,
) -> Option<Applied> {
    let answer = |places: &RefCell<[Place; PLACES]>| {
        let places = places.try_borrow().ok()?;
        let place = places.get(place(hash))?;
        let sighting = place.sighting.as_ref().filter(|_| place.hash == hash)?;
        if sighting.store != store
            || sighting.changes != changes
            || sighting.key.as_bytes() != operation.key_bytes()
        {
            return None;
        }
        operation.answer_recent(&sighting.record, recent().max(sighting.read_at))
    };
    SIGHTINGS.try_with(answer).ok().flatten()
}

/// Keeps a copy of a record that was read, if it is small and its key was read before.
#[inline]
pub(super) fn keep(store: StoreId, hash: u64, changes: u64, key: &Key, record: &Record, read_at: Timestamp) {
    let _ = SIGHTINGS.try_with(|places| {
        let Ok(mut places) = places.try_borrow_mut() else { return };
        let Some(place) = places.get_mut(place(hash)) else { return };
        if place.hash != hash {
            place.hash = hash;
            return;
        }
        place.sighting = is_small(record).then(|| Sighting {
            store,
            changes,
            key: key.clone(),
            record: record.clone(),
            read_at,
        });
    });
}

/// Returns whether a copy that outlives the record is no burden.
fn is_small(record: &Record) -> bool {
    record.result_len().unwrap_or(0) <= 64 && record.checkpoint_len().is_none()
}
