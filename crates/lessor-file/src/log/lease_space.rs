//! How much room the holders of live leases will need to deliver their outcomes.

use std::collections::BTreeMap;

use lessor_core::{Key, Record, Stage};

use crate::format::frame::{HEADER, SECTOR};

/// A holder is promised room for this many bytes of result, or of an error, beside what is on record already.
pub(crate) const OUTCOME: u64 = 256;
/// What an outcome adds to a record beside its bytes, and what an entry and a frame need.
const AROUND: u64 = 64 + HEADER as u64;
/// Leases that run out within so many µs (as a power of two) are counted together.
const STEP: u32 = 23;

/// A lease, as far as it needs room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// When it runs out, in µs.
    pub(crate) until: u64,
    /// What its outcome takes on the disk, in a frame of its own.
    pub(crate) room: u64,
}

impl Lease {
    pub(crate) fn new(key: &Key, record: u32, until: u64) -> Self {
        let bytes = AROUND + key.len() as u64 + u64::from(record) + OUTCOME;
        Self { until, room: bytes.div_ceil(SECTOR - 1) * SECTOR }
    }

    /// Of a record with that many bytes, if it is in progress.
    pub(crate) fn of(key: &Key, record: &Record, bytes: u32) -> Option<Self> {
        (record.stage() == Stage::InProgress).then(|| Self::new(key, bytes, record.expires_at().as_micros()))
    }
}

/// All leases that have not run out, counted by when they do.
#[derive(Debug, Default)]
pub(crate) struct Live {
    ends: BTreeMap<u64, u64>,
    total: u64,
    /// What ended before this is not counted any more.
    over: u64,
}

impl Live {
    /// Bytes that all of their outcomes take.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn add(&mut self, lease: Lease) {
        let end = end_of(lease);
        if end > self.over {
            *self.ends.entry(end).or_default() += lease.room;
            self.total += lease.room;
        }
    }

    pub(crate) fn remove(&mut self, lease: Lease) {
        let end = end_of(lease);
        // Not there if it ran out before.
        if let Some(room) = self.ends.get_mut(&end) {
            let less = lease.room.min(*room);
            *room -= less;
            self.total -= less;
            if *room == 0 {
                self.ends.remove(&end);
            }
        }
    }

    /// Leaves out those that have run out.
    pub(crate) fn forget_lapsed(&mut self, now: u64) {
        self.over = self.over.max(now >> STEP);
        while let Some(first) = self.ends.first_entry().filter(|first| *first.key() <= self.over) {
            self.total -= first.remove();
        }
    }
}

fn end_of(lease: Lease) -> u64 {
    (lease.until >> STEP) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_counted_until_they_end_or_run_out() {
        let lease = |seconds: u64| Lease { until: seconds * 1_000_000, room: 512 };
        let mut live = Live::default();
        (1..=100).for_each(|seconds| live.add(lease(seconds * 10)));
        live.remove(lease(1_000));
        assert_eq!(live.total(), 99 * 512);
        live.forget_lapsed(500 * 1_000_000);
        // Some that have just run out may be counted still.
        assert!((49 * 512..=50 * 512).contains(&live.total()), "{}", live.total());
        // One that ran out is not counted again, and its end changes nothing.
        let before = live.total();
        live.remove(lease(10));
        live.add(lease(20));
        assert_eq!(live.total(), before);
        live.forget_lapsed(u64::MAX);
        assert_eq!(live.total(), 0);
    }
}
