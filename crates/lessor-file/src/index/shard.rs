//! A shard of the index: the slots of some keys, their purge schedule, and their cached records.

use std::cmp;
use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lessor_core::{Key, Record, Timestamp};

use crate::index::location::Location;
use crate::index::schedule::{PurgeSchedule, begin_of};

/// The approximate memory that a record takes beyond its encoded length, in bytes.
const OVERHEAD: u64 = 256;

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The LSN of the write. The write is durable, and may be shown, once the visible LSN has
    /// reached it.
    pub(crate) lsn: u64,
    pub(crate) location: Location,
    pub(crate) token: u64,
    pub(crate) purge_at: Timestamp,
    /// The record, if it is cached. Always present until the write is visible.
    pub(crate) record: Option<Record>,
    /// The bucket of the record's entry in the purge schedule. Entries in other buckets are
    /// surplus.
    pub(crate) bucket: u32,
}

/// Buckets are distinguished by the upper bits of their beginning only.
const BUCKET_SHIFT: u32 = 21;

fn bucket_id(begin: u64) -> u32 {
    u32::try_from(begin >> BUCKET_SHIFT).unwrap_or(u32::MAX)
}

#[derive(Debug)]
pub(crate) struct Shard {
    slots: HashTable<(Key, Slot)>,
    hasher: RandomState,
    schedule: PurgeSchedule,
    /// Due entries of records that are not visible yet, during a purge.
    not_visible: Vec<(u64, u64)>,
    /// A time that the clock has passed, in µs.
    now: u64,
    /// The finished records that could be read from the disk instead, oldest first: hash of the
    /// key, LSN and length. If hashes collide, another record of the same frame may be dropped,
    /// which is harmless.
    cached: VecDeque<(u64, u64, u32)>,
    cached_bytes: u64,
    /// The limit of `cached_bytes`.
    cache_limit: u64,
}

/// The limits of a purge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purge {
    /// The number of records to remove, and to check, at most.
    pub(crate) limit: usize,
    /// The time of the purge in µs.
    pub(crate) now: u64,
    /// Records with higher LSNs are kept.
    pub(crate) visible: u64,
}

impl Shard {
    pub(crate) fn new(hasher: RandomState, cache_limit: u64, now: u64) -> Self {
        Self {
            slots: HashTable::new(),
            hasher,
            schedule: PurgeSchedule::default(),
            not_visible: Vec::new(),
            now,
            cached: VecDeque::new(),
            cached_bytes: 0,
            cache_limit,
        }
    }

    pub(crate) fn slot(&self, hash: u64, key: &str) -> Option<&Slot> {
        self.slots.find(hash, |(there, _)| **there == *key).map(|(_, slot)| slot)
    }

    pub(crate) fn slot_mut(&mut self, hash: u64, key: &str) -> Option<&mut Slot> {
        self.slots.find_mut(hash, |(there, _)| **there == *key).map(|(_, slot)| slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Reserves memory for this many more records.
    pub(crate) fn reserve(&mut self, records: usize) {
        let Self { slots, hasher, .. } = self;
        slots.reserve(records, |(key, _)| hasher.hash_one(&**key));
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.schedule.entries()
    }

    pub(crate) fn put(&mut self, hash: u64, key: &Key, mut slot: Slot) {
        let Shard { slots, hasher, schedule, now, .. } = self;
        let at = slot.purge_at.as_micros();
        match slots.entry(hash, |(there, _)| *there == *key, |(key, _)| hasher.hash_one(&**key)) {
            Entry::Occupied(mut there) => {
                let there = &mut there.get_mut().1;
                // An entry in too early a bucket is moved when it is checked. An entry in too late
                // a bucket would be found too late.
                let begin = begin_of(at, *now);
                let is_before = match bucket_id(begin).cmp(&there.bucket) {
                    cmp::Ordering::Less => true,
                    // The bucket may be an earlier one. A record that may be purged already gets no
                    // second entry, though.
                    cmp::Ordering::Equal => there.bucket > 0,
                    cmp::Ordering::Greater => false,
                };
                let is_earlier = slot.purge_at < there.purge_at && is_before;
                slot.bucket =
                    if is_earlier { bucket_id(schedule.insert(hash, at, *now)) } else { there.bucket };
                *there = slot;
            }
            Entry::Vacant(place) => {
                slot.bucket = bucket_id(schedule.insert(hash, at, *now));
                place.insert((key.clone(), slot));
            }
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter().map(|(key, slot)| (key, slot))
    }

    /// Checks up to `most` due entries. Returns the number of entries checked and of records
    /// removed, or `None` if no entry is due.
    pub(crate) fn purge(
        &mut self,
        purge: &Purge,
        most: usize,
        dropped: &mut dyn FnMut(&Slot),
    ) -> Option<(usize, usize)> {
        let Self { slots, hasher, schedule, now, not_visible, .. } = self;
        *now = purge.now.max(*now);
        let (begin, hashes) = schedule.take(*now, most)?;
        let looked = hashes.len();
        let mut gone = 0;
        for hash in hashes {
            let is_of = |(key, slot): &(Key, Slot)| {
                slot.bucket == bucket_id(begin) && hasher.hash_one(&**key) == hash
            };
            let Ok(mut there) = slots.find_entry(hash, is_of) else { continue };
            let slot = &mut there.get_mut().1;
            let at = slot.purge_at.as_micros();
            if at > *now {
                slot.bucket = bucket_id(schedule.insert(hash, at, *now));
            } else if slot.lsn > purge.visible {
                // The write that made the record due may still fail.
                not_visible.push((begin, hash));
            } else {
                dropped(slot);
                there.remove();
                gone += 1;
            }
        }
        Some((looked, gone))
    }

    /// Returns whether entries are due, and whether the schedule has to be swept.
    pub(crate) fn purge_state(&self, now: u64) -> (bool, bool) {
        (self.schedule.is_due(now), self.schedule.is_crowded(self.slots.len()))
    }

    /// Takes one bucket of the schedule, for its surplus entries to be removed.
    pub(crate) fn take_to_sweep(&mut self) -> Option<(u64, Vec<u64>)> {
        self.schedule.take_to_sweep()
    }

    /// Puts what is left of a bucket back.
    pub(crate) fn give_back(&mut self, begin: u64, kept: Vec<u64>) {
        self.schedule.give_back(begin, kept);
    }

    /// Returns whether the entry of that hash in the bucket that begins at `begin` is a record's.
    pub(crate) fn counts(&self, begin: u64, hash: u64) -> bool {
        let is_of = |(key, slot): &(Key, Slot)| {
            slot.bucket == bucket_id(begin) && self.hasher.hash_one(&**key) == hash
        };
        self.slots.find(hash, is_of).is_some()
    }

    /// Returns the due entries of records that were not visible to the schedule.
    pub(crate) fn put_back(&mut self) {
        let Self { schedule, not_visible, .. } = self;
        not_visible.drain(..).for_each(|(begin, hash)| schedule.put_back(begin, [hash]));
    }

    pub(crate) fn cache(&mut self, hash: u64, lsn: u64, length: u32, visible: u64) {
        self.cached.push_back((hash, lsn, length));
        self.cached_bytes += cost(length);
        while self.cached_bytes > self.cache_limit {
            let Some((hash, lsn, length)) = self.cached.pop_front() else { return };
            if lsn > visible {
                self.cached.push_front((hash, lsn, length));
                return;
            }
            // The slot is gone if the record was replaced or purged.
            if let Some((_, slot)) = self.slots.find_mut(hash, |(_, slot)| slot.lsn == lsn) {
                slot.record = None;
            }
            self.cached_bytes -= cost(length);
        }
    }
}

fn cost(length: u32) -> u64 {
    u64::from(length) + OVERHEAD
}
