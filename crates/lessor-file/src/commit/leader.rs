//! Leading a commit: writing the frame that was gathered.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;

use parking_lot::MutexGuard;

use crate::format::frame::{self, FrameBuilder, FrameHeader, checksum_of};
use crate::format::segment::{FIRST_FRAME, Segment, SegmentHeader};
use crate::format::spare::Spare;
use crate::log::Log;
use crate::log::staging::{Claim, LARGE, Refused, Staged, Staging, Wait, Writer};
use crate::log::waiters::Waiters;
use crate::problem::closed;
use crate::settings::SyncMode;

impl Log {
    /// Adds an entry to the frame that is being gathered.
    pub(crate) fn stage(&self, entry: &[u8], claim: &Claim) -> Result<Staged, Refused> {
        let mut staging = self.committer.lock();
        // Checked under the lock: a write that was staged before is among those that a failure
        // covers.
        if let Some(error) = self.poison.error() {
            return Err(Refused::Error(error));
        }
        if self.signals.is_stopping() {
            return Err(Refused::Error(closed()));
        }
        let staged = staging.stage(entry, claim, || self.clock.now().0.as_micros());
        drop(staging);
        match staged {
            Ok(_) => self.signals.nudge_writer(),
            Err(Refused::Wait(Wait::Space)) => self.signals.request_segment(),
            Err(_) => {}
        }
        staged
    }

    /// Leads if a frame has entries and no other thread leads. Returns whether it did.
    pub(crate) fn try_lead(&self) -> bool {
        let staging = self.committer.lock();
        if !staging.has_work() || staging.is_led() || self.poison.is_set() {
            return false;
        }
        self.lead(staging);
        true
    }

    /// Writes the frame that was gathered, and wakes its waiters.
    pub(super) fn lead<'l>(&'l self, mut staging: MutexGuard<'l, Staging>) {
        let Some(mut writer) = staging.writer.take() else { return };
        // The callers that the last frame woke are about to write again: they are let in as long as
        // more of them come. Futures come by the thousand, so fewer frames are better for them. A
        // thread may be waiting for this frame.
        let is_for_futures = staging.gathering.threads.is_none();
        let mut count = staging.count;
        while count < staging.last_count || (is_for_futures && count > 1) {
            MutexGuard::unlocked(&mut staging, thread::yield_now);
            if staging.count == count || staging.frame.size_with(0) > LARGE {
                break;
            }
            count = staging.count;
        }
        if self.poison.is_set() {
            staging.writer = Some(writer);
            return;
        }
        let lsn = staging.lsn;
        let idle = mem::take(&mut staging.idle);
        let mut frame = mem::replace(&mut staging.frame, idle);
        staging.last_count = mem::take(&mut staging.count);
        staging.in_flight = mem::take(&mut staging.gathering);
        staging.lsn += 1;
        let size = frame.size_with(0);
        let next = if size > staging.space_left { self.take_spare(&mut staging) } else { None };
        staging.space_left = staging.space_left.saturating_sub(size);
        drop(staging);

        let written = self.write(&mut writer, &mut frame, lsn, next);
        if let Err(error) = &written {
            self.fail("writing the log", error);
        }
        frame.reset();

        let mut staging = self.committer.lock();
        if written.is_ok() {
            self.committer.set_visible(lsn);
        }
        staging.idle = frame;
        staging.writer = Some(writer);
        let mut woken = mem::take(&mut staging.in_flight);
        woken.futures.append(&mut staging.for_reservation);
        self.release_lead(staging, woken);
    }

    /// Wakes the waiters for the frame that was written, and the next leader: one of the threads
    /// that wait for the next frame, or the writer thread on behalf of futures.
    fn release_lead(&self, staging: MutexGuard<'_, Staging>, woken: Waiters) {
        let next = staging.gathering.threads.clone();
        let has_work = staging.has_work();
        drop(staging);
        woken.wake(&self.notifier);
        match next {
            Some(threads) => threads.call_leader(),
            None if has_work => self.signals.wake_writer(),
            None => {}
        }
    }

    fn take_spare(&self, staging: &mut Staging) -> Option<Spare> {
        let spare = staging.spare.take()?;
        staging.space_left = spare.length - FIRST_FRAME;
        staging.segment_length = spare.length;
        (staging.largest_refused, staging.grant_shortage) = (0, 0);
        self.signals.request_segment();
        Some(spare)
    }

    fn write(
        &self,
        writer: &mut Writer,
        frame: &mut FrameBuilder,
        lsn: u64,
        next: Option<Spare>,
    ) -> io::Result<()> {
        self.check_process().map_err(io::Error::other)?;
        let clock = self.clock.next_reservation();
        let durable_upto = self.committer.synced();
        let header = FrameHeader { kind: frame::FrameKind::Log, epoch: self.epoch, lsn, durable_upto, clock };
        let bytes = frame.seal(&self.id, header);
        if let Some(spare) = next {
            self.roll(writer, spare, lsn)?;
        }
        if writer.at + bytes.len() as u64 > writer.segment.length {
            return Err(io::Error::other("the segment has no space for the frame"));
        }
        writer.last = checksum_of(bytes);
        writer.segment.push_frame(writer.at);
        writer.segment.file.write_all_at(bytes, writer.at)?;
        writer.at += bytes.len() as u64;
        if self.settings.sync == SyncMode::Disk {
            writer.segment.sync()?;
            self.committer.raise_synced(lsn);
        }
        self.clock.reserve_until(clock);
        Ok(())
    }

    /// Continues in the next segment. All of the segment before is synced by then, so that only the
    /// last segment can have a torn tail.
    fn roll(&self, writer: &mut Writer, spare: Spare, first_lsn: u64) -> io::Result<()> {
        if self.settings.sync != SyncMode::Disk {
            writer.segment.sync()?;
            self.committer.raise_synced(first_lsn - 1);
        }
        let Spare { number, length, file } = spare;
        let header =
            SegmentHeader { number, epoch: self.epoch, first_lsn, previous_checksum: writer.last, length };
        let segment = Segment::create(file, &header, &self.id)?;
        self.catalog.write().segments.push(Arc::clone(&segment));
        writer.segment = segment;
        writer.at = FIRST_FRAME;
        Ok(())
    }

    /// Continues in the next segment, if there is one and no thread leads. Returns whether it did.
    pub(crate) fn try_roll(&self) -> io::Result<bool> {
        let mut staging = self.committer.lock();
        if staging.is_led() || staging.spare.is_none() {
            return Ok(false);
        }
        let (Some(mut writer), Some(spare)) = (staging.writer.take(), self.take_spare(&mut staging)) else {
            return Ok(false);
        };
        let first_lsn = staging.lsn;
        drop(staging);
        let rolled = self.roll(&mut writer, spare, first_lsn).and_then(|()| writer.segment.sync());
        if let Err(error) = &rolled {
            self.fail("beginning a new segment", error);
        }
        let mut staging = self.committer.lock();
        staging.writer = Some(writer);
        self.release_lead(staging, Waiters::default());
        rolled.map(|()| true)
    }

    /// Syncs everything that was written so far. Only with [`SyncMode::Process`] there is anything.
    pub(crate) fn sync(&self) {
        // Each segment but the last was synced when the next one was begun.
        let written = self.committer.visible();
        let Some(segment) = self.catalog.last_segment() else { return };
        match segment.sync() {
            Ok(()) => self.committer.raise_synced(written),
            Err(error) => self.fail("syncing the log", &error),
        }
    }

    /// Returns the segment that is written to and the position in it, unless a thread leads.
    pub(crate) fn writer_position(&self) -> Option<(Arc<Segment>, u64)> {
        let staging = self.committer.lock();
        staging.writer.as_ref().map(|writer| (Arc::clone(&writer.segment), writer.at))
    }
}
