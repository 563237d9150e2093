//! When the records of one shard have to be looked at to be dropped: an index by time that costs about ten bytes a record.
//!
//! Each record has one entry, the hash of its key, in a bucket that begins before the record may go. The further away that
//! is, the coarser the bucket, so that there are few of them. When the clock reaches the begin of a bucket its entries are looked
//! at: what may go is dropped, what moved on meanwhile or is due later in the bucket's span is entered again, in a finer one. So no
//! change of a record has to find its entry. An entry stays when its record goes early; once there are many of those,
//! [`sweep`](Due::sweep) removes them, bucket by bucket.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Due {
    /// By begin, in µs.
    buckets: BTreeMap<u64, Vec<u64>>,
    entries: usize,
    /// The begin of the bucket that was swept last.
    swept: u64,
}

/// So many entries more than two per record are not many.
pub(crate) const SPARE: usize = 1_024;

/// A bucket is this much shorter than what is left until it begins.
const FINENESS: u64 = 16;
/// What may go already.
const NOW: u64 = 0;

impl Due {
    /// Enters a record that may go at `at`. Returns the begin of its bucket.
    pub(crate) fn enter(&mut self, hash: u64, at: u64, now: u64) -> u64 {
        let begin = begin_of(at, now);
        self.push(begin, hash);
        begin
    }

    fn push(&mut self, begin: u64, hash: u64) {
        let bucket = self.buckets.entry(begin).or_default();
        if bucket.len() == bucket.capacity() {
            // Not twice as much: most of the memory that records cost here is in few large buckets.
            bucket.reserve_exact((bucket.len() / 4).max(4));
        }
        bucket.push(hash);
        self.entries += 1;
    }

    /// Whether there is anything to look at.
    pub(crate) fn has_begun(&self, now: u64) -> bool {
        self.buckets.first_key_value().is_some_and(|(begin, _)| *begin <= now)
    }

    /// Some entries of the first bucket that has begun, at most `limit`, with its begin.
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

    /// Puts entries back that could not be dealt with now.
    pub(crate) fn put_back(&mut self, begin: u64, hashes: impl IntoIterator<Item = u64>) {
        hashes.into_iter().for_each(|hash| self.push(begin, hash));
    }

    /// Whether many entries are of records that are gone, or second ones.
    pub(crate) fn is_crowded(&self, records: usize) -> bool {
        self.entries > 2 * records + SPARE
    }

    /// Removes the entries of one bucket that do not count. The next call goes on with the bucket before: new ones keep being made
    /// at the end that is near.
    pub(crate) fn sweep(&mut self, counts: impl Fn(u64, u64) -> bool) {
        let next = self.buckets.range(..self.swept).next_back().or_else(|| self.buckets.iter().next_back());
        let Some(begin) = next.map(|(begin, _)| *begin) else { return };
        self.swept = begin;
        let Some(mut bucket) = self.buckets.remove(&begin) else { return };
        self.entries -= bucket.len();
        bucket.sort_unstable();
        bucket.dedup();
        bucket.retain(|hash| counts(begin, *hash));
        bucket.shrink_to_fit();
        if !bucket.is_empty() {
            self.entries += bucket.len();
            self.buckets.insert(begin, bucket);
        }
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

/// The begin of the bucket that a record is entered in: not after `at`, and after `now` unless that has been reached.
pub(crate) fn begin_of(at: u64, now: u64) -> u64 {
    let Some(left) = at.checked_sub(now).filter(|left| *left > 0) else { return NOW };
    let span = 1 << (left / FINENESS).max(1).ilog2();
    at / span * span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_neither_late_nor_at_once() {
        for now in [0, 1, 12_345, 1_700_000_000_000_000] {
            for left in (0..45).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) * 3 / 2]) {
                let begin = begin_of(now + left, now);
                assert!(begin <= now + left && begin > now, "{now} + {left}: {begin}");
            }
            assert_eq!(begin_of(now, now), NOW);
        }
    }

    #[test]
    fn entries_take_little_room_and_few_buckets() {
        const RECORDS: u64 = 100_000;
        let week = 7 * 24 * 3600 * 1_000_000_u64;
        let mut due = Due::default();
        for number in 0..RECORDS {
            // One each 10 ms.
            let now = 1_700_000_000_000_000 + number * 10_000;
            due.enter(number, now + week, now);
        }
        let (buckets, capacity) = due.sizes();
        assert!(buckets < 200, "{buckets} buckets");
        assert!(capacity as u64 <= RECORDS * 5 / 4 + 4 * buckets as u64, "{capacity} places");
    }
}
