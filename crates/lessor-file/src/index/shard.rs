//! One shard of the index: the slots of some keys, when they may be purged, and which records are cached.

use std::cmp;
use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lessor_core::{Key, Record, Timestamp};

use crate::index::location::Place;
use crate::index::schedule::{Due, begin_of};

/// About what a record costs in memory beyond its encoded length.
const OVERHEAD: u64 = 256;

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Of the write. It is durable, and may be shown, once the log's visible LSN has reached this.
    pub(crate) lsn: u64,
    pub(crate) place: Place,
    pub(crate) token: u64,
    pub(crate) purge_at: Timestamp,
    /// Always there until the write is visible.
    pub(crate) record: Option<Record>,
    /// Where the record is entered by time: the upper bits of the begin of its bucket. Any other entry of it is void.
    pub(crate) entered: u32,
}

/// Two begins that differ in the rest only are taken for one.
const ENTERED: u32 = 21;

fn entered(begin: u64) -> u32 {
    u32::try_from(begin >> ENTERED).unwrap_or(u32::MAX)
}

#[derive(Debug)]
pub(crate) struct Shard {
    slots: HashTable<(Key, Slot)>,
    hasher: RandomState,
    due: Due,
    /// Entries by time of records that are not visible yet, while a purge runs.
    unsettled: Vec<(u64, u64)>,
    /// A time that the clock has passed, in µs.
    now: u64,
    /// Finished records that could as well be read back, oldest first: hash of the key, LSN and length. In a rare mix-up another
    /// record of the same frame is let go of, which does no harm.
    kept: VecDeque<(u64, u64, u32)>,
    kept_bytes: u64,
    /// How many bytes of those may be kept.
    budget: u64,
}

/// What a purge may drop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purge {
    /// At most so many records, and looking at no more.
    pub(crate) limit: usize,
    /// By this time, in µs.
    pub(crate) now: u64,
    /// Only what this frame and those before it hold.
    pub(crate) visible: u64,
}

impl Shard {
    pub(crate) fn new(hasher: RandomState, budget: u64, now: u64) -> Self {
        Self {
            slots: HashTable::new(),
            hasher,
            due: Due::default(),
            unsettled: Vec::new(),
            now,
            kept: VecDeque::new(),
            kept_bytes: 0,
            budget,
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

    /// Makes room for so many more records.
    pub(crate) fn reserve(&mut self, records: usize) {
        let Self { slots, hasher, .. } = self;
        slots.reserve(records, |(key, _)| hasher.hash_one(&**key));
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.due.entries()
    }

    pub(crate) fn put(&mut self, hash: u64, key: &Key, mut slot: Slot) {
        let Shard { slots, hasher, due, now, .. } = self;
        let at = slot.purge_at.as_micros();
        match slots.entry(hash, |(there, _)| *there == *key, |(key, _)| hasher.hash_one(&**key)) {
            Entry::Occupied(mut there) => {
                let there = &mut there.get_mut().1;
                // An entry that comes too early is entered again when it is looked at; one that comes too late is not.
                let begin = begin_of(at, *now);
                let is_before = match entered(begin).cmp(&there.entered) {
                    cmp::Ordering::Less => true,
                    // It may be. What may go at once is not entered again, though.
                    cmp::Ordering::Equal => there.entered > 0,
                    cmp::Ordering::Greater => false,
                };
                let is_earlier = slot.purge_at < there.purge_at && is_before;
                slot.entered = if is_earlier { entered(due.enter(hash, at, *now)) } else { there.entered };
                *there = slot;
            }
            Entry::Vacant(place) => {
                slot.entered = entered(due.enter(hash, at, *now));
                place.insert((key.clone(), slot));
            }
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Key, &Slot)> {
        self.slots.iter().map(|(key, slot)| (key, slot))
    }

    /// Looks at up to `most` entries whose time has come. Says how many there were and how many records went; `None` if there are no
    /// more.
    pub(crate) fn purge(
        &mut self,
        purge: &Purge,
        most: usize,
        dropped: &mut dyn FnMut(&Slot),
    ) -> Option<(usize, usize)> {
        let Self { slots, hasher, due, now, unsettled, .. } = self;
        *now = purge.now.max(*now);
        let (begin, hashes) = due.take(*now, most)?;
        let looked = hashes.len();
        let mut gone = 0;
        for hash in hashes {
            let is_of =
                |(key, slot): &(Key, Slot)| slot.entered == entered(begin) && hasher.hash_one(&**key) == hash;
            let Ok(mut there) = slots.find_entry(hash, is_of) else { continue };
            let slot = &mut there.get_mut().1;
            let at = slot.purge_at.as_micros();
            if at > *now {
                slot.entered = entered(due.enter(hash, at, *now));
            } else if slot.lsn > purge.visible {
                // What goes by it may not come true.
                unsettled.push((begin, hash));
            } else {
                dropped(slot);
                there.remove();
                gone += 1;
            }
        }
        Some((looked, gone))
    }

    /// Whether a purge has something to look at, and whether the index by time has to be swept.
    pub(crate) fn looks(&self, now: u64) -> (bool, bool) {
        (self.due.has_begun(now), self.due.is_crowded(self.slots.len()))
    }

    /// Removes a part of the entries by time that do not count any more.
    pub(crate) fn sweep(&mut self) {
        let Self { slots, hasher, due, .. } = self;
        due.sweep(|begin, hash| {
            let is_of =
                |(key, slot): &(Key, Slot)| slot.entered == entered(begin) && hasher.hash_one(&**key) == hash;
            slots.find(hash, is_of).is_some()
        });
    }

    /// What was looked at too early is looked at by the next purge.
    pub(crate) fn put_back(&mut self) {
        let Self { due, unsettled, .. } = self;
        unsettled.drain(..).for_each(|(begin, hash)| due.put_back(begin, [hash]));
    }

    pub(crate) fn keep(&mut self, hash: u64, lsn: u64, length: u32, visible: u64) {
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
