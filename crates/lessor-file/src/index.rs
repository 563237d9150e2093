//! The index in memory. It maps each key to the location of its record, and to the record itself if
//! that is cached.

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

/// Removes the surplus entries of one bucket of the schedule. The shard is locked for a few entries
/// at a time. Returns the number of entries that were checked.
fn sweep(shard: &RwLock<Shard>) -> usize {
    let taken = shard.write().take_to_sweep();
    let Some((begin, mut hashes)) = taken else { return 0 };
    let checked = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    let mut kept = Vec::new();
    for some in hashes.chunks(SWEPT_AT_ONCE) {
        let shard = shard.read();
        kept.extend(some.iter().copied().filter(|hash| shard.counts(begin, *hash)));
    }
    kept.shrink_to_fit();
    shard.write().give_back(begin, kept);
    checked
}

#[cfg(test)]
mod tests;

const SHARDS: usize = 128;
/// The number of schedule entries that are checked under one lock when surplus entries are removed.
const SWEPT_AT_ONCE: usize = 64;
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// The shard that the next purge begins with.
    next_purged: AtomicUsize,
}

/// A shard that is locked for reading one key. The hash of the key is computed once.
pub(crate) struct ReadShard<'i> {
    shard: RwLockReadGuard<'i, Shard>,
    hash: u64,
}

/// A shard that is locked for changing one key.
pub(crate) struct WriteShard<'i> {
    shard: RwLockWriteGuard<'i, Shard>,
    hash: u64,
}

impl Index {
    /// Creates an empty index that caches up to `cache` bytes of finished records. `now` is a time
    /// in µs that the clock has passed, preferably the latest one.
    pub(crate) fn new(cache: u64, now: u64) -> Self {
        let hasher = RandomState::default();
        let shard = |_| RwLock::new(Shard::new(hasher.clone(), cache / SHARDS as u64, now));
        Self { shards: (0..SHARDS).map(shard).collect(), hasher, next_purged: AtomicUsize::new(0) }
    }

    fn shard(&self, key: &str) -> (&RwLock<Shard>, u64) {
        let hash = self.hasher.hash_one(key);
        // Bits that the hash table hardly uses.
        #[expect(clippy::indexing_slicing, reason = "the mask keeps the index within bounds")]
        (&self.shards[(hash >> 40 & (SHARDS as u64 - 1)) as usize], hash)
    }

    pub(crate) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn read(&self, key: &str) -> ReadShard<'_> {
        let (shard, hash) = self.shard(key);
        ReadShard { shard: shard.read(), hash }
    }

    /// Locks the shard of a key for reading, unless that would block.
    pub(crate) fn try_read(&self, key: &str) -> Option<ReadShard<'_>> {
        let (shard, hash) = self.shard(key);
        Some(ReadShard { shard: shard.try_read()?, hash })
    }

    pub(crate) fn write(&self, key: &str) -> WriteShard<'_> {
        let (shard, hash) = self.shard(key);
        WriteShard { shard: shard.write(), hash }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &RwLock<Shard>> {
        self.shards.iter()
    }

    /// Removes visible records that may be purged, and passes each to `dropped`. The next call
    /// continues where this one ended.
    pub(crate) fn purge(&self, purge: &Purge, dropped: &mut dyn FnMut(&Slot)) -> Purged {
        let (mut count, mut left) = (0, purge.limit);
        let first = self.next_purged.load(Ordering::Relaxed);
        for place in (first..SHARDS).chain(0..first) {
            let Some(shard) = self.shards.get(place) else { continue };
            let (is_due, is_crowded) = shard.read().purge_state(purge.now);
            if !is_due && !is_crowded {
                continue;
            }
            if is_crowded {
                left -= sweep(shard).min(left);
            }
            let mut shard = shard.write();
            while left > 0 {
                let Some((looked, gone)) = shard.purge(purge, left, dropped) else { break };
                left -= looked.min(left);
                count += gone;
            }
            shard.put_back();
            if left == 0 {
                self.next_purged.store(place, Ordering::Relaxed);
                return Purged::new(count, true);
            }
        }
        Purged::new(count, false)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Reserves memory for this many more records.
    pub(crate) fn reserve(&self, records: u64) {
        let each = usize::try_from(records).unwrap_or(0) / SHARDS;
        for shard in &self.shards {
            shard.write().reserve(each + each / 8);
        }
    }

    /// Adds a record that was read from the log, unless a newer one is there. Returns whether it
    /// was added.
    pub(crate) fn recover(&self, key: Key, slot: Slot) -> bool {
        let mut shard = self.write(&key);
        let is_newer = shard.slot(&key).is_none_or(|there| there.lsn <= slot.lsn);
        if is_newer {
            shard.put(&key, slot);
        }
        is_newer
    }
}

impl ReadShard<'_> {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.shard.slot(self.hash, key)
    }
}

impl WriteShard<'_> {
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

    /// Counts a record that could be read from the disk instead, and drops the oldest cached
    /// records beyond the limit. Records that are not `visible` yet cannot be read from the disk,
    /// and stay.
    pub(crate) fn cache(&mut self, lsn: u64, length: u32, visible: u64) {
        let hash = self.hash;
        self.shard.cache(hash, lsn, length, visible);
    }

    /// Caches a record that was read back.
    pub(crate) fn restore(&mut self, key: &Key, lsn: u64, record: &Record, visible: u64) {
        if let Some(slot) = self.slot_mut(key)
            && slot.lsn == lsn
            && slot.record.is_none()
        {
            slot.record = Some(record.clone());
            let length = slot.location.length;
            self.cache(lsn, length, visible);
        }
    }
}
