//! The space that the outcomes of live leases need in the log.

use std::collections::BTreeMap;

use lessor_core::{Key, Record, Stage};

use crate::format::frame::{HEADER_BYTES, SECTOR};

/// The number of bytes of a result or an error that a holder can always store, in addition to what
/// is on record.
pub(crate) const OUTCOME_BYTES: u64 = 256;
/// An upper bound of what an outcome adds to a record, an entry and a frame, in bytes.
const OVERHEAD: u64 = 64 + HEADER_BYTES as u64;
/// Leases that expire within the same 2^23 µs are counted together.
const STEP: u32 = 23;

/// The space that one lease needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseSpace {
    /// The expiry of the lease, in µs.
    pub(crate) until: u64,
    /// The size of its outcome in a separate frame, in bytes.
    pub(crate) bytes: u64,
}

impl LeaseSpace {
    pub(crate) fn new(key: &Key, record: u32, until: u64) -> Self {
        let bytes = OVERHEAD + key.len() as u64 + u64::from(record) + OUTCOME_BYTES;
        Self { until, bytes: bytes.div_ceil(SECTOR - 1) * SECTOR }
    }

    /// Returns the space for a record with this encoded length, if it is in progress.
    pub(crate) fn of(key: &Key, record: &Record, bytes: u32) -> Option<Self> {
        (record.stage() == Stage::InProgress).then(|| Self::new(key, bytes, record.expires_at().as_micros()))
    }
}

/// The space that all live leases need, by their expiry.
#[derive(Debug, Default)]
pub(crate) struct LiveLeases {
    ends: BTreeMap<u64, u64>,
    total: u64,
    /// Leases that expired before this are not counted any more.
    lapsed_before: u64,
}

impl LiveLeases {
    /// Returns the number of bytes that all outcomes take.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn add(&mut self, lease: LeaseSpace) {
        let end = end_of(lease);
        if end > self.lapsed_before {
            *self.ends.entry(end).or_default() += lease.bytes;
            self.total += lease.bytes;
        }
    }

    pub(crate) fn remove(&mut self, lease: LeaseSpace) {
        let end = end_of(lease);
        // The lease is missing if it has expired.
        if let Some(bytes) = self.ends.get_mut(&end) {
            let less = lease.bytes.min(*bytes);
            *bytes -= less;
            self.total -= less;
            if *bytes == 0 {
                self.ends.remove(&end);
            }
        }
    }

    /// Removes the leases that have expired.
    pub(crate) fn forget_lapsed(&mut self, now: u64) {
        self.lapsed_before = self.lapsed_before.max(now >> STEP);
        while let Some(first) = self.ends.first_entry().filter(|first| *first.key() <= self.lapsed_before) {
            self.total -= first.remove();
        }
    }
}

fn end_of(lease: LeaseSpace) -> u64 {
    (lease.until >> STEP) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_counted_until_they_end_or_expire() {
        let lease = |seconds: u64| LeaseSpace { until: seconds * 1_000_000, bytes: 512 };
        let mut live = LiveLeases::default();
        (1..=100).for_each(|seconds| live.add(lease(seconds * 10)));
        live.remove(lease(1_000));
        assert_eq!(live.total(), 99 * 512);
        live.forget_lapsed(500 * 1_000_000);
        // Leases that have just expired may still be counted.
        assert!((49 * 512..=50 * 512).contains(&live.total()), "{}", live.total());
        // An expired lease is not counted again, and its end has no effect.
        let before = live.total();
        live.remove(lease(10));
        live.add(lease(20));
        assert_eq!(live.total(), before);
        live.forget_lapsed(u64::MAX);
        assert_eq!(live.total(), 0);
    }
}
