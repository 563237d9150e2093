//! What is stored under each key, in memory: where its record is in the log, and the record itself if there is room.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lessor_core::{Key, Record, Timestamp};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

const SHARDS: usize = 128;
/// About what a record costs in memory beyond its encoded length.
const OVERHEAD: u64 = 256;

/// Where the encoded record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) home: Home,
    /// Data bytes from the frame's begin.
    pub(crate) position: u32,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

/// The frame that a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The log's frame with the record's LSN.
    Log,
    /// The frame of this checkpoint that begins at this sector.
    Checkpoint { number: u32, sector: u32 },
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Of the write. It is durable, and may be shown, once the log's visible LSN has reached this.
    pub(crate) lsn: u64,
    pub(crate) place: Place,
    pub(crate) token: u64,
    pub(crate) purge_at: Timestamp,
    /// Always there until the write is visible.
    pub(crate) record: Option<Record>,
}

#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
}

#[derive(Debug)]
pub(crate) struct Shard {
    slots: HashTable<(Key, Slot)>,
    hasher: RandomState,
    /// Finished records that could as well be read back, oldest first: hash of the key, LSN and length. In a rare mix-up another
    /// record of the same frame is let go of, which does no harm.
    kept: VecDeque<(u64, u64, u32)>,
    kept_bytes: u64,
    /// How many bytes of those may be kept.
    budget: u64,
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
    pub(crate) fn new(cache: u64) -> Self {
        let hasher = RandomState::default();
        let shard = |_| {
            RwLock::new(Shard {
                slots: HashTable::new(),
                hasher: hasher.clone(),
                kept: VecDeque::new(),
                kept_bytes: 0,
                budget: cache / SHARDS as u64,
            })
        };
        Self { shards: (0..SHARDS).map(shard).collect(), hasher }
    }

    fn shard(&self, key: &str) -> (&RwLock<Shard>, u64) {
        let hash = self.hasher.hash_one(key);
        // Bits that the table makes little use of.
        #[expect(clippy::indexing_slicing, reason = "so many bits are within bounds")]
        (&self.shards[(hash >> 40 & (SHARDS as u64 - 1)) as usize], hash)
    }

    pub(crate) fn read(&self, key: &str) -> Reading<'_> {
        let (shard, hash) = self.shard(key);
        Reading { shard: shard.read(), hash }
    }

    pub(crate) fn write(&self, key: &str) -> Writing<'_> {
        let (shard, hash) = self.shard(key);
        Writing { shard: shard.write(), hash }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &RwLock<Shard>> {
        self.shards.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().slots.len()).sum()
    }

    /// Makes room for so many records at once.
    pub(crate) fn reserve(&self, records: u64) {
        let each = usize::try_from(records).unwrap_or(0) / SHARDS;
        for shard in &self.shards {
            let hasher = self.hasher.clone();
            shard.write().slots.reserve(each + each / 8, |(key, _)| hasher.hash_one(&**key));
        }
    }

    /// Takes a record over from the log, unless a newer one is there.
    pub(crate) fn recover(&self, key: Key, slot: Slot) {
        let mut shard = self.write(&key);
        if shard.slot(&key).is_none_or(|there| there.lsn <= slot.lsn) {
            shard.put(&key, slot);
        }
    }
}

impl Reading<'_> {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.shard.slots.find(self.hash, |(there, _)| **there == *key).map(|(_, slot)| slot)
    }
}

impl Writing<'_> {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.shard.slots.find(self.hash, |(there, _)| **there == *key).map(|(_, slot)| slot)
    }

    pub(crate) fn slot_mut(&mut self, key: &str) -> Option<&mut Slot> {
        self.shard.slots.find_mut(self.hash, |(there, _)| **there == *key).map(|(_, slot)| slot)
    }

    pub(crate) fn put(&mut self, key: &Key, slot: Slot) {
        let Shard { slots, hasher, .. } = &mut *self.shard;
        match slots.entry(self.hash, |(there, _)| *there == *key, |(key, _)| hasher.hash_one(&**key)) {
            Entry::Occupied(mut there) => there.get_mut().1 = slot,
            Entry::Vacant(place) => drop(place.insert((key.clone(), slot))),
        }
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

impl Shard {
    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter().map(|(key, slot)| (key, slot))
    }

    /// Drops up to `limit` records for which `is_over` holds, and shows each to `dropped`.
    pub(crate) fn drop_where(
        &mut self,
        limit: usize,
        is_over: impl Fn(&Slot) -> bool,
        mut dropped: impl FnMut(&Slot),
    ) -> usize {
        let over: Vec<Key> =
            self.slots().filter(|(_, slot)| is_over(slot)).take(limit).map(|(key, _)| key.clone()).collect();
        for key in &over {
            let hash = self.hasher.hash_one(&**key);
            if let Ok(there) = self.slots.find_entry(hash, |(there, _)| there == key) {
                dropped(&there.get().1);
                there.remove();
            }
        }
        over.len()
    }

    fn keep(&mut self, hash: u64, lsn: u64, length: u32, visible: u64) {
        self.kept.push_back((hash, lsn, length));
        self.kept_bytes += cost(length);
        while self.kept_bytes > self.budget {
            let Some((hash, lsn, length)) = self.kept.pop_front() else { return };
            if lsn > visible {
                self.kept.push_front((hash, lsn, length));
                return;
            }
            // Not there if it was replaced or dropped.
            if let Some((_, slot)) = self.slots.find_mut(hash, |(_, slot)| slot.lsn == lsn) {
                slot.record = None;
            }
            self.kept_bytes -= cost(length);
        }
    }
}

fn cost(length: u32) -> u64 {
    u64::from(length) + OVERHEAD
}
