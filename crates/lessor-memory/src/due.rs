//! When records may be purged: an index by time, so that a purge looks only at what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lessor_core::{Record, Timestamp};
use parking_lot::Mutex;

/// The records of one shard by the earliest instant at which each could be purged. It lies on cache lines of its own.
///
/// A record has one entry, made when its key is new. The instant may be too early, because the record has been changed since:
/// the entry then moves once it is due. A record that may go earlier than its entry says gets a second one. The first one stays,
/// also when the record is gone, until it is due or [`take_crowd`](Due::take_crowd) removes it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Due(Mutex<BinaryHeap<Reverse<Timed>>>);

/// The hash of a key, and when its record has to be looked at.
pub(super) type Timed = (Timestamp, u64);

/// So many entries more than two per record are no crowd.
pub(super) const SPARE: usize = 1_024;

/// Up to which instant a record's entry lies, whatever is done with the record by engines of the same retention.
#[derive(Clone, Copy)]
pub(super) struct EntryAt(Timestamp);

impl EntryAt {
    /// A lease may be finished as soon as it is granted, and its record is kept from then on.
    #[inline]
    pub(super) fn of(record: &Record) -> Self {
        let lease = record.expires_at().saturating_since(record.acquired_at());
        Self(record.purge_at().saturating_sub(lease))
    }
}

impl Due {
    /// Enters the record of a new key.
    #[inline]
    pub(super) fn enter(&self, hash: u64, record: &Record) {
        self.0.lock().push(Reverse((EntryAt::of(record).0, hash)));
    }

    /// Enters a changed record again, if it may be purged before its entry is due.
    #[inline]
    pub(super) fn changed(&self, hash: u64, entry: EntryAt, purge_at: Timestamp) {
        if purge_at < entry.0 {
            self.0.lock().push(Reverse((purge_at, hash)));
        }
    }

    /// Moves the entry of a record that was changed.
    pub(super) fn move_to(&self, hash: u64, purge_at: Timestamp) {
        self.0.lock().push(Reverse((purge_at, hash)));
    }

    /// Takes up to `limit` entries that are due.
    pub(super) fn take(&self, now: Timestamp, limit: usize) -> Vec<u64> {
        let mut entries = self.0.lock();
        let mut taken = Vec::new();
        while taken.len() < limit
            && entries.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse((_, hash))) = entries.pop()
        {
            taken.push(hash);
        }
        taken
    }

    /// Takes all entries if there are many more than `records`, and returns the first of each record. The caller returns those
    /// that still count by [`give_back`](Self::give_back).
    pub(super) fn take_crowd(&self, records: usize) -> Vec<Timed> {
        let mut entries = self.0.lock();
        if entries.len() <= 2 * records + SPARE {
            return Vec::new();
        }
        let taken = std::mem::take(&mut *entries);
        drop(entries);
        let mut taken: Vec<Timed> = taken.into_iter().map(|Reverse(entry)| entry).collect();
        taken.sort_unstable_by_key(|(at, hash)| (*hash, *at));
        taken.dedup_by_key(|(_, hash)| *hash);
        taken
    }

    pub(super) fn give_back(&self, entries: Vec<Timed>) {
        let mut entries: BinaryHeap<_> = entries.into_iter().map(Reverse).collect();
        let mut there = self.0.lock();
        there.append(&mut entries);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
