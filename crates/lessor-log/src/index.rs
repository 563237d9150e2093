//! What is stored under each key, in memory: where its record is in the log, and the record itself if there is room.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
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
    /// Bytes of finished records that a shard keeps.
    budget: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    slots: HashMap<Key, Slot, RandomState>,
    /// Records that can be read back, oldest first.
    kept: VecDeque<(Key, u64, u32)>,
    kept_bytes: u64,
}

impl Index {
    pub(crate) fn new(cache: u64) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, hasher: RandomState::default(), budget: cache / SHARDS as u64 }
    }

    fn shard(&self, key: &str) -> &RwLock<Shard> {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::indexing_slicing, reason = "a remainder is within bounds")]
        &self.shards[(hash >> 57) as usize % SHARDS]
    }

    pub(crate) fn read(&self, key: &str) -> RwLockReadGuard<'_, Shard> {
        self.shard(key).read()
    }

    pub(crate) fn write(&self, key: &str) -> RwLockWriteGuard<'_, Shard> {
        self.shard(key).write()
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
        self.shards.iter().for_each(|shard| shard.write().slots.reserve(each + each / 8));
    }

    /// Takes a record over from the log, unless a newer one is there.
    pub(crate) fn recover(&self, key: Key, slot: Slot) {
        let mut shard = self.write(&key);
        match shard.slots.get_mut(&*key) {
            Some(there) if there.lsn > slot.lsn => {}
            Some(there) => *there = slot,
            None => drop(shard.slots.insert(key, slot)),
        }
    }

    /// How many bytes of records a shard may keep.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }
}

impl Shard {
    pub(crate) fn slot(&self, key: &str) -> Option<&Slot> {
        self.slots.get(key)
    }

    pub(crate) fn slot_mut(&mut self, key: &str) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter()
    }

    pub(crate) fn put(&mut self, key: &Key, slot: Slot) {
        match self.slots.get_mut(&**key) {
            Some(there) => *there = slot,
            None => drop(self.slots.insert(key.clone(), slot)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Slot> {
        self.slots.remove(key)
    }

    /// Counts a record that could as well be read back, and lets go of the oldest of those beyond the budget. What is not
    /// `visible` yet cannot be read back.
    pub(crate) fn keep(&mut self, key: &Key, lsn: u64, length: u32, budget: u64, visible: u64) {
        self.kept.push_back((key.clone(), lsn, length));
        self.kept_bytes += cost(length);
        while self.kept_bytes > budget {
            let Some((key, lsn, length)) = self.kept.pop_front() else { return };
            match self.slots.get_mut(&*key) {
                Some(slot) if slot.lsn == lsn => {
                    if lsn > visible {
                        self.kept.push_front((key, lsn, length));
                        return;
                    }
                    slot.record = None;
                }
                // Replaced or gone.
                _ => {}
            }
            self.kept_bytes -= cost(length);
        }
    }

    /// Keeps a record that was read back.
    pub(crate) fn restore(&mut self, key: &Key, lsn: u64, record: &Record, budget: u64, visible: u64) {
        if let Some(slot) = self.slots.get_mut(&**key)
            && slot.lsn == lsn
            && slot.record.is_none()
        {
            slot.record = Some(record.clone());
            let length = slot.place.length;
            self.keep(key, lsn, length, budget, visible);
        }
    }
}

fn cost(length: u32) -> u64 {
    u64::from(length) + OVERHEAD
}
