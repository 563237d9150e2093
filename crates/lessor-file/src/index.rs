//! What is stored under each key, in memory: where its record is in the log, and the record itself if there is room.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use lessor_core::store::Purged;
use lessor_core::{Key, Record};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::index::shard::{Purge, Shard, Slot};

pub(crate) mod location;
mod schedule;
pub(crate) mod shard;
#[cfg(test)]
mod tests;

const SHARDS: usize = 128;
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// The shard that the next purge begins with.
    next_purged: AtomicUsize,
}

/// A shard that is locked to look at one key, whose hash is computed once.
pub(crate) struct Reading<'i> {
    shard: RwLockReadGuard<'i, Shard>,
    hash: u64,
}

/// The same, to change what is there.
pub(crate) struct Writing<'i> {
    shard: RwLockWriteGuard<'i, Shard>,
    hash: u64,
}

impl Index {
    /// `now` is a time that the clock has passed, in µs; the nearer the better.
    pub(crate) fn new(cache: u64, now: u64) -> Self {
        let hasher = RandomState::default();
        let shard = |_| RwLock::new(Shard::new(hasher.clone(), cache / SHARDS as u64, now));
        Self { shards: (0..SHARDS).map(shard).collect(), hasher, next_purged: AtomicUsize::new(0) }
    }

    fn shard(&self, key: &str) -> (&RwLock<Shard>, u64) {
        let hash = self.hasher.hash_one(key);
        // Bits that the table makes little use of.
        #[expect(clippy::indexing_slicing, reason = "so many bits are within bounds")]
        (&self.shards[(hash >> 40 & (SHARDS as u64 - 1)) as usize], hash)
    }

    pub(crate) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn read(&self, key: &str) -> Reading<'_> {
        let (shard, hash) = self.shard(key);
        Reading { shard: shard.read(), hash }
    }

    /// The same, unless that would have to wait.
    pub(crate) fn try_read(&self, key: &str) -> Option<Reading<'_>> {
        let (shard, hash) = self.shard(key);
        Some(Reading { shard: shard.try_read()?, hash })
    }

    pub(crate) fn write(&self, key: &str) -> Writing<'_> {
        let (shard, hash) = self.shard(key);
        Writing { shard: shard.write(), hash }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &RwLock<Shard>> {
        self.shards.iter()
    }

    /// Drops visible records that may go, and shows each to `dropped`. The next call goes on where this one ended.
    pub(crate) fn purge(&self, purge: &Purge, dropped: &mut dyn FnMut(&Slot)) -> Purged {
        let (mut count, mut left) = (0, purge.limit);
        let first = self.next_purged.load(Ordering::Relaxed);
        for place in (first..SHARDS).chain(0..first) {
            let Some(shard) = self.shards.get(place) else { continue };
            let (has_begun, is_crowded) = shard.read().looks(purge.now);
            if !has_begun && !is_crowded {
                continue;
            }
            let mut shard = shard.write();
            if is_crowded {
                shard.sweep();
            }
            while left > 0 {
                let Some((looked, gone)) = shard.purge(purge, left, dropped) else { break };
                left -= looked.min(left);
                count += gone;
            }
            shard.put_back();
            if left == 0 {
                self.next_purged.store(place, Ordering::Relaxed);
                return Purged { dropped: count, more: true };
            }
        }
        Purged { dropped: count, more: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Makes room for so many records at once.
    pub(crate) fn reserve(&self, records: u64) {
        let each = usize::try_from(records).unwrap_or(0) / SHARDS;
        for shard in &self.shards {
            shard.write().reserve(each + each / 8);
        }
    }

    /// Takes a record over from the log, unless a newer one is there.
    /// Says whether it was taken.
    pub(crate) fn recover(&self, key: Key, slot: Slot) -> bool {
        let mut shard = self.write(&key);
        let is_newer = shard.slot(&key).is_none_or(|there| there.lsn <= slot.lsn);
        if is_newer {
            shard.put(&key, slot);
        }
        is_newer
    }
}

impl Reading<'_> {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.shard.slot(self.hash, key)
    }
}

impl Writing<'_> {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.shard.slot(self.hash, key)
    }

    pub(crate) fn slot_mut(&mut self, key: &str) -> Option<&mut Slot> {
        self.shard.slot_mut(self.hash, key)
    }

    pub(crate) fn put(&mut self, key: &Key, slot: Slot) {
        let hash = self.hash;
        self.shard.put(hash, key, slot);
    }

    /// Counts a record that could as well be read back, and lets go of the oldest of those beyond the budget. What is not
    /// `visible` yet cannot be read back.
    pub(crate) fn keep(&mut self, lsn: u64, length: u32, visible: u64) {
        let hash = self.hash;
        self.shard.keep(hash, lsn, length, visible);
    }

    /// Keeps a record that was read back.
    pub(crate) fn restore(&mut self, key: &Key, lsn: u64, record: &Record, visible: u64) {
        if let Some(slot) = self.slot_mut(key)
            && slot.lsn == lsn
            && slot.record.is_none()
        {
            slot.record = Some(record.clone());
            let length = slot.place.length;
            self.keep(lsn, length, visible);
        }
    }
}
