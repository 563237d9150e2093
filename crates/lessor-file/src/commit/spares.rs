//! The next segment, as the committer sees it.

use std::mem;

use lessor_core::StoreError;

use crate::format::frame::SECTOR;
use crate::format::segment::{FIRST_FRAME, MIN_SEGMENT};
use crate::format::spare::Spare;
use crate::log::Log;

/// A request for the next segment. Lengths are in bytes.
#[derive(Debug)]
pub(crate) struct SpareRequest {
    /// The preferred length.
    pub(crate) length: u64,
    /// The shortest acceptable length.
    pub(crate) min_length: u64,
    /// The next segment that exists and is too short.
    pub(crate) current: Option<Spare>,
}

impl Log {
    /// Returns a request if the next segment has to be made or extended.
    pub(crate) fn spare_request(&self) -> Option<SpareRequest> {
        let now = self.clock.now().0.as_micros();
        let mut staging = self.committer.lock();
        staging.live.forget_lapsed(now);
        let min_length = (staging.required_space().div_ceil(SECTOR) * SECTOR + FIRST_FRAME).max(MIN_SEGMENT);
        let is_needed = staging.has_work() && staging.frame.size_with(0) > staging.space_left;
        let current = match &staging.spare {
            Some(spare) if spare.length >= min_length || is_needed => {
                // A spare that was too short is long enough again, because leases have ended.
                staging.shortage = None;
                let woken = mem::take(&mut staging.for_space);
                drop(staging);
                self.notifier.wake(woken);
                return None;
            }
            Some(_) => staging.spare.take(),
            None => None,
        };
        // The space that the live leases need, and half as much again, so that the segment is not
        // extended all the time.
        let leases = (2 * staging.live.total() + FIRST_FRAME).max(min_length);
        let roomy = (leases + leases / 2).div_ceil(SECTOR) * SECTOR;
        let usual = (staging.segment_length * 2).min(self.settings.max_segment);
        let length = if leases > usual { roomy } else { usual };
        Some(SpareRequest { length, min_length, current })
    }

    /// Sets the next segment, and why it is missing or too short if it is.
    pub(crate) fn offer_spare(&self, spare: Option<Spare>, shortage: Option<StoreError>) {
        let mut staging = self.committer.lock();
        staging.shortage = shortage;
        staging.spare = spare;
        let woken = mem::take(&mut staging.for_space);
        drop(staging);
        self.notifier.wake(woken);
    }

    /// Returns the bytes that the outcomes of all live leases take.
    pub(crate) fn lease_space(&self) -> u64 {
        let now = self.clock.now().0.as_micros();
        let mut staging = self.committer.lock();
        staging.live.forget_lapsed(now);
        staging.live.total()
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.committer.lock().spare.is_some()
    }

    pub(crate) fn remove_spare(&self) -> Option<Spare> {
        self.committer.lock().spare.take()
    }

    /// Wakes the waiters for the clock reservation.
    pub(crate) fn wake_reservation_waiters(&self) {
        let woken = mem::take(&mut self.committer.lock().for_reservation);
        self.notifier.wake(woken);
    }
}
