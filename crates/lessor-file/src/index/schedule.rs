//! The purge schedule of one shard: an index of records by the time at which they may be purged. It
//! takes about ten bytes a record.
//!
//! Each record has one entry, the hash of its key, in a bucket that begins before the record may be
//! purged. Buckets further in the future are longer, so that there are few of them. When the clock
//! reaches the beginning of a bucket, its entries are checked. A record that may be purged is
//! removed. A record that was extended meanwhile, or is due later in the bucket, moves to a shorter
//! bucket. A change of a record therefore does not have to find its entry. An entry stays behind
//! when its record is purged early; once there are many of these, a purge removes them bucket by
//! bucket.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct PurgeSchedule {
    /// The hashes by the beginning of their bucket, in µs.
    buckets: BTreeMap<u64, Vec<u64>>,
    entries: usize,
    /// The beginning of the bucket that was swept last.
    swept: u64,
}

/// The number of surplus entries that is acceptable in addition to one per record.
pub(crate) const SLACK: usize = 1_024;

/// A bucket that begins in this many µs has a length of one µs.
const FINENESS: u64 = 16;
/// The bucket of records that may be purged already.
const NOW: u64 = 0;

impl PurgeSchedule {
    /// Adds a record that may be purged at `at`. Returns the beginning of its bucket.
    pub(crate) fn insert(&mut self, hash: u64, at: u64, now: u64) -> u64 {
        let begin = begin_of(at, now);
        self.push(begin, hash);
        begin
    }

    fn push(&mut self, begin: u64, hash: u64) {
        let bucket = self.buckets.entry(begin).or_default();
        if bucket.len() == bucket.capacity() {
            // Capacity grows by a quarter instead of doubling: most of the memory is in few large
            // buckets.
            bucket.reserve_exact((bucket.len() / 4).max(4));
        }
        bucket.push(hash);
        self.entries += 1;
    }

    /// Returns whether an entry has to be checked.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.buckets.first_key_value().is_some_and(|(begin, _)| *begin <= now)
    }

    /// Takes up to `limit` entries of the first bucket that has begun, and returns the beginning of
    /// the bucket with them.
    pub(crate) fn take(&mut self, now: u64, limit: usize) -> Option<(u64, Vec<u64>)> {
        let mut first = self.buckets.first_entry().filter(|first| *first.key() <= now)?;
        let begin = *first.key();
        let bucket = first.get_mut();
        let taken = bucket.split_off(bucket.len().saturating_sub(limit));
        self.entries -= taken.len();
        if bucket.is_empty() {
            first.remove();
        }
        Some((begin, taken))
    }

    /// Returns entries that could not be handled to their bucket.
    pub(crate) fn put_back(&mut self, begin: u64, hashes: impl IntoIterator<Item = u64>) {
        hashes.into_iter().for_each(|hash| self.push(begin, hash));
    }

    /// Returns whether too many entries are surplus: their records were purged or have another
    /// entry.
    pub(crate) fn is_crowded(&self, records: usize) -> bool {
        self.entries > 2 * records + SLACK
    }

    /// Takes one bucket, for its surplus entries to be removed. The next call takes the bucket
    /// before, because new entries are mostly made in near buckets.
    pub(crate) fn take_to_sweep(&mut self) -> Option<(u64, Vec<u64>)> {
        let next = self.buckets.range(..self.swept).next_back().or_else(|| self.buckets.iter().next_back());
        let begin = *next?.0;
        self.swept = begin;
        let bucket = self.buckets.remove(&begin)?;
        self.entries -= bucket.len();
        Some((begin, bucket))
    }

    /// Puts what is left of a bucket back. Records may have been entered in it meanwhile.
    pub(crate) fn give_back(&mut self, begin: u64, mut kept: Vec<u64>) {
        if kept.is_empty() {
            return;
        }
        self.entries += kept.len();
        let bucket = self.buckets.entry(begin).or_default();
        if bucket.len() > kept.len() {
            std::mem::swap(bucket, &mut kept);
        }
        kept.append(bucket);
        *bucket = kept;
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        assert_eq!(self.entries, self.buckets.values().map(Vec::len).sum::<usize>());
        self.entries
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.buckets.len(), self.buckets.values().map(Vec::capacity).sum())
    }
}

/// Returns the beginning of the bucket for a record that may be purged at `at`: not after `at`, and
/// after `now` unless `at` has passed.
pub(crate) fn begin_of(at: u64, now: u64) -> u64 {
    let Some(left) = at.checked_sub(now).filter(|left| *left > 0) else { return NOW };
    let span = 1 << (left / FINENESS).max(1).ilog2();
    at / span * span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_after_now_and_not_after_its_records_are_due() {
        for now in [0, 1, 12_345, 1_700_000_000_000_000] {
            for left in (0..45).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) * 3 / 2]) {
                let begin = begin_of(now + left, now);
                assert!(begin <= now + left && begin > now, "{now} + {left}: {begin}");
            }
            assert_eq!(begin_of(now, now), NOW);
        }
    }

    #[test]
    fn entries_take_little_memory_and_few_buckets() {
        const RECORDS: u64 = 100_000;
        let week = 7 * 24 * 3600 * 1_000_000_u64;
        let mut schedule = PurgeSchedule::default();
        for number in 0..RECORDS {
            // One record every 10 ms.
            let now = 1_700_000_000_000_000 + number * 10_000;
            schedule.insert(number, now + week, now);
        }
        let (buckets, capacity) = schedule.sizes();
        assert!(buckets < 200, "{buckets} buckets");
        assert!(capacity as u64 <= RECORDS * 5 / 4 + 4 * buckets as u64, "{capacity} places");
    }
}
