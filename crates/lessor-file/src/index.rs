//! What is stored under each key, in memory: where its record is in the log, and the record itself if there is room.

use std::cmp;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lessor_core::store::Purged;
use lessor_core::{Key, Record, Timestamp};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::due::{Due, begin_of};

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
    Checkpoint { number: NonZeroU32, sector: u32 },
}

impl Home {
    /// Checkpoints are numbered from 1.
    pub(crate) fn checkpoint(number: u64, sector: u32) -> Self {
        let number = u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Self::Checkpoint { number, sector }
    }
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
    /// Where the record is entered by time: the upper bits of the begin of its bucket. Any other entry of it is void.
    pub(crate) entered: u32,
}

/// Two begins that differ in the rest only are taken for one.
const ENTERED: u32 = 21;

fn entered(begin: u64) -> u32 {
    u32::try_from(begin >> ENTERED).unwrap_or(u32::MAX)
}

#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// The shard that the next purge begins with.
    next_purged: AtomicUsize,
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

impl Index {
    /// `now` is a time that the clock has passed, in µs; the nearer the better.
    pub(crate) fn new(cache: u64, now: u64) -> Self {
        let hasher = RandomState::default();
        let shard = |_| {
            RwLock::new(Shard {
                slots: HashTable::new(),
                hasher: hasher.clone(),
                due: Due::default(),
                unsettled: Vec::new(),
                now,
                kept: VecDeque::new(),
                kept_bytes: 0,
                budget: cache / SHARDS as u64,
            })
        };
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

    pub(crate) fn put(&mut self, key: &Key, mut slot: Slot) {
        let Shard { slots, hasher, due, now, .. } = &mut *self.shard;
        let at = slot.purge_at.as_micros();
        match slots.entry(self.hash, |(there, _)| *there == *key, |(key, _)| hasher.hash_one(&**key)) {
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
                slot.entered =
                    if is_earlier { entered(due.enter(self.hash, at, *now)) } else { there.entered };
                *there = slot;
            }
            Entry::Vacant(place) => {
                slot.entered = entered(due.enter(self.hash, at, *now));
                place.insert((key.clone(), slot));
            }
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

    /// Looks at up to `most` entries whose time has come. Says how many there were and how many records went; `None` if there are no
    /// more.
    fn purge(
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
    fn looks(&self, now: u64) -> (bool, bool) {
        (self.due.has_begun(now), self.due.is_crowded(self.slots.len()))
    }

    /// Removes a part of the entries by time that do not count any more.
    fn sweep(&mut self) {
        let Self { slots, hasher, due, .. } = self;
        due.sweep(|begin, hash| {
            let is_of =
                |(key, slot): &(Key, Slot)| slot.entered == entered(begin) && hasher.hash_one(&**key) == hash;
            slots.find(hash, is_of).is_some()
        });
    }

    /// What was looked at too early is looked at by the next purge.
    fn put_back(&mut self) {
        let Self { due, unsettled, .. } = self;
        unsettled.drain(..).for_each(|(begin, hash)| due.put_back(begin, [hash]));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::due::SPARE;

    const NOW: u64 = 1_700_000_000_000_000;
    const DAY: u64 = 24 * 3600 * 1_000_000;

    fn slot(purge_at: u64, lsn: u64) -> Slot {
        let place = Place { home: Home::Log, position: 0, length: 1, checksum: 0 };
        let purge_at = Timestamp::from_micros(purge_at).unwrap();
        Slot { lsn, place, token: lsn, purge_at, record: None, entered: 0 }
    }

    fn put(index: &Index, key: &str, slot: Slot) {
        let key = Key::new(key).unwrap();
        index.write(&key).put(&key, slot);
    }

    fn purge(index: &Index, now: u64, limit: usize) -> (Purged, Vec<u64>) {
        let mut tokens = Vec::new();
        let purge = Purge { limit, now, visible: 1_000 };
        (index.purge(&purge, &mut |slot| tokens.push(slot.token)), tokens)
    }

    fn entries(index: &Index) -> usize {
        let count = |shard: &RwLock<Shard>| shard.read().due.entries();
        index.shards().map(count).sum()
    }

    /// Every call of a purge looked through the records of a shard, from the first one on. With three million records, and a million of
    /// them over, that took the engine's one thread for seconds.
    #[test]
    fn a_purge_looks_at_what_is_over_and_at_hardly_anything_else() {
        let index = Index::new(0, NOW);
        for number in 0..100_000 {
            put(&index, &format!("kept {number}"), slot(NOW + 7 * DAY + number, 1));
        }
        for number in 0..100 {
            put(&index, &format!("over {number}"), slot(NOW + 1_000_000 * (1 + number % 60), 2));
        }
        let (purged, tokens) = purge(&index, NOW + 61_000_000, 512);
        assert_eq!((purged, tokens.len()), (Purged { dropped: 100, more: false }, 100));
        assert_eq!(index.len(), 100_000);
        // From one look to the next until the week is over, each record is looked at a few times.
        let (mut looks, mut gone) = (0, 0);
        for now in (0..8 * 24 * 60).map(|minutes| NOW + minutes * 60_000_000) {
            loop {
                let (purged, _) = purge(&index, now, 512);
                gone += purged.dropped;
                if !purged.more {
                    break;
                }
                looks += 512;
            }
        }
        assert_eq!((gone, index.len(), entries(&index)), (100_000, 0, 0));
        assert!(looks < 8 * 100_000, "{looks} looks at 100000 records");
    }

    #[test]
    fn a_purge_drops_at_its_instant_what_was_changed_in_whatever_way() {
        let index = Index::new(0, NOW);
        for (key, times) in [
            ("later", [3, 9]),
            ("earlier", [9, 3]),
            ("same", [3, 3]),
            ("much later", [3, 900_000]),
            ("now", [900_000, 0]),
        ] {
            times.iter().for_each(|at| put(&index, key, slot(NOW + at * 1_000_000, 1)));
        }
        let dropped = |now| purge(&index, now, 512).0.dropped;
        assert_eq!(dropped(NOW), 1);
        assert_eq!(dropped(NOW + 2_999_999), 0);
        assert_eq!(dropped(NOW + 3_000_000), 2);
        assert_eq!(dropped(NOW + 8_999_999), 0);
        assert_eq!(dropped(NOW + 9_000_000), 1);
        assert_eq!(dropped(NOW + 900_000_000_000 - 1), 0);
        assert_eq!(dropped(NOW + 900_000_000_000), 1);
        assert_eq!(entries(&index), 0);
    }

    #[test]
    fn what_may_not_come_true_is_kept_until_it_has() {
        let index = Index::new(0, NOW);
        put(&index, "k", slot(NOW, 1_001));
        assert_eq!(purge(&index, NOW + 1, 512).0, Purged { dropped: 0, more: false });
        put(&index, "k", slot(NOW, 1_000));
        assert_eq!(purge(&index, NOW + 1, 512).0.dropped, 1);
    }

    /// One entry per record, however often it is forgotten and acquired again.
    #[test]
    fn a_key_that_comes_and_goes_does_not_fill_the_index() {
        let index = Index::new(0, NOW);
        for round in 0..10_000 {
            let now = NOW + round * 3_000_000;
            put(&index, "k", slot(now + 7 * DAY, 1));
            put(&index, "k", slot(now, 1));
            if round % 100 == 0 {
                put(&index, "k", slot(now + 7 * DAY, 1));
                purge(&index, now, 512);
            }
        }
        assert!(entries(&index) <= 110, "{} entries of one record", entries(&index));
    }

    /// A purge between a key's end and its next beginning left one entry each time, for the whole retention.
    #[test]
    fn p9_keys_that_come_and_go_with_a_purge_each_time_do_not_fill_the_index() {
        let index = Index::new(0, NOW);
        for round in 0..20_000 {
            let now = NOW + round * 3_000_000;
            put(&index, "k", slot(now + 7 * DAY, 1));
            put(&index, "k", slot(now, 1));
            purge(&index, now, 512);
        }
        assert!(entries(&index) <= 2 * SPARE, "{} entries of one record", entries(&index));
        // What is there still goes at its time.
        put(&index, "k", slot(NOW + 30 * DAY, 1));
        for number in 0..1_000 {
            put(&index, &format!("k {number}"), slot(NOW + 30 * DAY + number * 60_000_000, 1));
        }
        for minutes in 0..31 * 24 * 60 {
            purge(&index, NOW + minutes * 60_000_000, 512);
            assert!(index.len() > 1_000 || minutes >= 30 * 24 * 60, "purged too early");
        }
        assert_eq!((index.len(), entries(&index)), (0, 0));
    }
}
