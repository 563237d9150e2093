//! The frame that is being gathered, and the space that is left for it.

use std::mem;
use std::sync::Arc;

use lessor_core::StoreError;
use lessor_core::store::CallerWaker;

use crate::format::frame::{FrameBuilder, HEADER_BYTES, MAX_FRAME, SECTOR};
use crate::format::segment::{FIRST_FRAME, Segment};
use crate::format::spare::Spare;
use crate::log::lease_space::{LeaseSpace, LiveLeases};
use crate::log::waiters::Waiters;

/// A frame of this many bytes is written before more is added to it.
pub(crate) const LARGE: u64 = 8 << 20;
/// An upper bound of the bytes that an entry has beside key and record.
const ENTRY_OVERHEAD: usize = 64;
/// The longest key, in bytes.
const LONGEST_KEY: usize = 4 * lessor_core::MAX_STORED_KEY_CHARS;

/// The frame that is being gathered, its waiters, and the space in the log.
#[derive(Debug)]
pub(crate) struct Staging {
    /// The LSN of the frame that is being gathered.
    pub(crate) lsn: u64,
    pub(crate) frame: FrameBuilder,
    /// The number of entries in the frame, and in the frame before.
    pub(crate) count: usize,
    pub(crate) last_count: usize,
    /// An empty builder, kept for its memory.
    pub(crate) idle: FrameBuilder,
    /// The waiters for the frame that is being gathered, and for the one that is being written.
    pub(crate) gathering: Waiters,
    pub(crate) in_flight: Waiters,
    /// The waiters for space in the log, and for the clock reservation.
    pub(crate) for_space: Vec<CallerWaker>,
    pub(crate) for_reservation: Vec<CallerWaker>,
    /// `None` while a leader writes.
    pub(crate) writer: Option<Box<Writer>>,
    /// The bytes that are left in the segment behind the frame that is being written.
    pub(crate) space_left: u64,
    /// The length of the segment in bytes.
    pub(crate) segment_length: u64,
    /// The next segment.
    pub(crate) spare: Option<Spare>,
    /// Why the next segment could not be made, or not be made long enough.
    pub(crate) shortage: Option<StoreError>,
    /// The largest frame that did not fit, in bytes. The next segment has to have space for it.
    pub(crate) largest_refused: u64,
    /// The bytes that the next segment has to have beside what live leases need, so that the
    /// largest refused grant fits.
    pub(crate) grant_shortage: u64,
    pub(crate) live: LiveLeases,
}

/// The segment that is written to, and the position in it. The leader owns it while it writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    /// The position of the next frame.
    pub(crate) at: u64,
    /// The checksum of the last frame's header.
    pub(crate) last: u32,
}

/// A condition that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The frame with this LSN is visible.
    Visible(u64),
    /// The log may have space.
    Space,
    /// The clock is reserved up to the latest time that was returned.
    Reservation,
}

/// The effect of a change on the space that leases need in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) kind: ClaimKind,
    /// The lease before the change and after it.
    pub(crate) before: Option<LeaseSpace>,
    pub(crate) after: Option<LeaseSpace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimKind {
    /// A new lease. It has to leave space for all outcomes, twice.
    Grant,
    /// A change of a live lease. It has to leave space for all outcomes.
    Upkeep,
    /// The end of a lease. It always has space.
    Outcome,
}

/// An entry that was added to the frame that is being gathered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    pub(crate) lsn: u64,
    /// The position of the entry in the frame's data.
    pub(crate) position: u32,
}

/// The reason that an entry was not added.
#[derive(Debug)]
pub(crate) enum Refused {
    Wait(Wait),
    Error(StoreError),
}

impl Staging {
    pub(crate) fn new(lsn: u64, writer: Writer, live: LiveLeases) -> Self {
        let segment_length = writer.segment.length;
        Self {
            lsn,
            frame: FrameBuilder::default(),
            count: 0,
            last_count: 0,
            idle: FrameBuilder::default(),
            gathering: Waiters::default(),
            in_flight: Waiters::default(),
            for_space: Vec::new(),
            for_reservation: Vec::new(),
            space_left: segment_length.saturating_sub(writer.at),
            writer: Some(Box::new(writer)),
            segment_length,
            spare: None,
            shortage: None,
            largest_refused: 0,
            grant_shortage: 0,
            live,
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.frame.is_empty()
    }

    pub(crate) fn is_led(&self) -> bool {
        self.writer.is_none()
    }

    /// Returns the waiters for a frame that is not visible yet.
    pub(crate) fn waiters(&mut self, lsn: u64) -> &mut Waiters {
        if lsn == self.lsn { &mut self.gathering } else { &mut self.in_flight }
    }

    /// Takes all waiters but those for the frame that is being written.
    pub(crate) fn take_waiters(&mut self) -> Waiters {
        let mut waiters = mem::take(&mut self.gathering);
        waiters.futures.append(&mut self.for_space);
        waiters.futures.append(&mut self.for_reservation);
        waiters
    }

    pub(crate) fn spare_space(&self) -> u64 {
        self.spare.as_ref().map_or(0, |spare| spare.length - FIRST_FRAME)
    }

    /// Returns the space that the next segment has to have, in bytes.
    pub(crate) fn required_space(&self) -> u64 {
        let leases = if self.grant_shortage > 0 { 2 * self.live.total() + self.grant_shortage } else { 0 };
        self.largest_refused.max(leases).max(1)
    }

    /// Returns whether a frame of `size` bytes leaves the space that the claim has to leave.
    fn leaves_space(&self, size: u64, claim: &Claim) -> bool {
        let (before, after) =
            (claim.before.map_or(0, |lease| lease.bytes), claim.after.map_or(0, |lease| lease.bytes));
        let needed = (self.live.total() + after).saturating_sub(before);
        let needed = match claim.kind {
            ClaimKind::Outcome => return true,
            ClaimKind::Upkeep => needed,
            // Without a next segment, the unforeseen has to fit as well.
            ClaimKind::Grant if self.spare.is_none() => 2 * needed + self.segment_length / 2,
            ClaimKind::Grant => 2 * needed,
        };
        // All of it has to fit into one of the two segments: once a frame does not fit into this
        // one, what is left of it is lost.
        let left = match self.space_left.checked_sub(size) {
            Some(left) => left.max(self.spare_space()),
            None => self.spare_space().saturating_sub(size),
        };
        needed <= left
    }

    /// Adds an entry, if the log has space for it and for the outcomes of all live leases. `now` is
    /// in µs.
    pub(crate) fn stage(
        &mut self,
        entry: &[u8],
        claim: &Claim,
        now: impl FnOnce() -> u64,
    ) -> Result<Staged, Refused> {
        let size = self.frame.size_with(entry.len());
        if !self.frame.is_empty() && size > LARGE {
            return Err(Refused::Wait(Wait::Visible(self.lsn)));
        }
        let fits = size <= self.space_left || size <= self.spare_space();
        let is_allowed = fits
            && (self.leaves_space(size, claim) || {
                self.live.forget_lapsed(now());
                self.leaves_space(size, claim)
            });
        if !is_allowed {
            if !fits {
                self.largest_refused = self.largest_refused.max(size);
            }
            if claim.kind != ClaimKind::Outcome {
                let lease = claim.after.map_or(0, |lease| lease.bytes);
                self.grant_shortage = self.grant_shortage.max(size + 2 * lease);
            }
            return Err(match &self.shortage {
                Some(error) => Refused::Error(error.clone()),
                None => Refused::Wait(Wait::Space),
            });
        }
        claim.before.inspect(|lease| self.live.remove(*lease));
        claim.after.inspect(|lease| self.live.add(*lease));
        let position = u32::try_from(self.frame.position()).unwrap_or(u32::MAX);
        self.frame.push(entry);
        self.count += 1;
        Ok(Staged { lsn: self.lsn, position })
    }
}

/// Refuses a record that fits into no frame. `record` is its length in bytes.
pub(crate) fn check_size(record: usize) -> Result<(), StoreError> {
    let most = MAX_FRAME / SECTOR * (SECTOR - 1) - (HEADER_BYTES + ENTRY_OVERHEAD + LONGEST_KEY) as u64;
    if record as u64 > most {
        return Err(StoreError::too_large(record as u64, most));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use lessor_core::{Error, ErrorKind};

    use super::*;

    /// A full disk was reported, which no caller can do anything about.
    #[test]
    fn p12_a_record_that_fits_into_no_frame_is_the_callers_mistake() {
        check_size(250 << 20).unwrap();
        let error = check_size(256 << 20).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { size: 268_435_456, .. }), "{error}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    }
}
