//! Group commit: what gathers while one frame is being synced is the next frame.
//!
//! Whoever changes a record adds an entry to the frame that is gathering, under a short lock, and waits for that frame's
//! LSN to become visible. One at a time takes the lead: it takes the frame and the [`Writer`] out from under the lock, writes and
//! syncs without it, puts the writer back and wakes those who waited. A blocking caller leads itself if nobody else does;
//! for futures, which must not block, the log's own thread does.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::thread;

use lessor_core::StoreError;
use lessor_core::store::CallerWaker;
use parking_lot::MutexGuard;

use crate::compaction;
use crate::frame::{self, FrameBuilder, HEADER, Header, MAX_FRAME, SECTOR};
use crate::live::{Lease, Live};
use crate::log::Log;
use crate::segment::{FIRST_FRAME, Segment, SegmentHeader, Spare, segment_name};
use crate::settings::SyncMode;
use crate::waiters::Waiters;

/// A frame that is this large is written before more is added to it.
const LARGE: u64 = 8 << 20;
/// The shortest segment.
pub(crate) const LEAST_SEGMENT: u64 = 8 * SECTOR;
/// More than an entry has beside key and record.
const ENTRY_OVERHEAD: usize = 64;
/// The longest key, in bytes.
const LONGEST_KEY: usize = 4 * lessor_core::MAX_KEY_CHARS;

/// What is being gathered, and what it will be written with.
#[derive(Debug)]
pub(crate) struct Staging {
    /// Of the frame that is gathering.
    pub(crate) lsn: u64,
    frame: FrameBuilder,
    /// How many entries it has, and how many the last one had.
    count: usize,
    last_count: usize,
    /// An empty builder whose memory is used again.
    idle: FrameBuilder,
    /// Those who wait for the frame that is gathering, and for the one that is being written.
    gathering: Waiters,
    in_flight: Waiters,
    /// Those who wait for room in the log, and for time to be covered.
    for_room: Vec<CallerWaker>,
    for_time: Vec<CallerWaker>,
    /// Not there while somebody leads.
    writer: Option<Box<Writer>>,
    /// Bytes left in the segment behind the frame that is being written.
    room: u64,
    /// The length of the segment.
    length: u64,
    /// The next segment.
    spare: Option<Spare>,
    /// Why the next segment could not be made, or not be made as large as it has to be.
    shortage: Option<StoreError>,
    /// The next segment has to have room for a frame of so many bytes.
    wish: u64,
    /// Beside what the live leases need, the next segment has to have room for so many bytes, or else a lease cannot be granted.
    short: u64,
    /// The live leases.
    live: Live,
}

/// What is written to, and where.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    /// Where the next frame goes.
    pub(crate) at: u64,
    /// The checksum of the last frame's header.
    pub(crate) last: u32,
}

/// What has to come before a call can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The frame is visible.
    Visible(u64),
    /// There may be room in the log.
    Room,
    /// All time that was told is covered.
    Time,
}

/// What a change does to a lease, as far as room in the log is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) kind: Kind,
    /// The lease before the change and after it.
    pub(crate) before: Option<Lease>,
    pub(crate) after: Option<Lease>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new lease. It leaves room for all outcomes, twice.
    Grant,
    /// A lease goes on. It leaves room for all outcomes.
    Upkeep,
    /// A lease ends, for which there always is room.
    Outcome,
}

/// What the next segment should be.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// How long it is best, and how long it has to be.
    pub(crate) length: u64,
    pub(crate) least: u64,
    /// The one that is there and too short.
    pub(crate) there: Option<Spare>,
}

/// An entry was added to the frame that is gathering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    pub(crate) lsn: u64,
    /// Where the entry begins in the frame's data.
    pub(crate) position: u32,
}

#[derive(Debug)]
pub(crate) enum Refused {
    Wait(Wait),
    Error(StoreError),
}

impl Staging {
    pub(crate) fn new(lsn: u64, writer: Writer, live: Live) -> Self {
        let length = writer.segment.length;
        Self {
            lsn,
            frame: FrameBuilder::default(),
            count: 0,
            last_count: 0,
            idle: FrameBuilder::default(),
            gathering: Waiters::default(),
            in_flight: Waiters::default(),
            for_room: Vec::new(),
            for_time: Vec::new(),
            room: length.saturating_sub(writer.at),
            writer: Some(Box::new(writer)),
            length,
            spare: None,
            shortage: None,
            wish: 0,
            short: 0,
            live,
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.frame.is_empty()
    }

    pub(crate) fn is_led(&self) -> bool {
        self.writer.is_none()
    }

    /// Those who wait for a frame that is not visible yet.
    fn waiters(&mut self, lsn: u64) -> &mut Waiters {
        if lsn == self.lsn { &mut self.gathering } else { &mut self.in_flight }
    }

    /// All who wait for something that no frame under way brings.
    pub(crate) fn take_waiting(&mut self) -> Waiters {
        let mut waiting = mem::take(&mut self.gathering);
        waiting.futures.append(&mut self.for_room);
        waiting.futures.append(&mut self.for_time);
        waiting
    }

    fn spare_room(&self) -> u64 {
        self.spare.as_ref().map_or(0, |spare| spare.length - FIRST_FRAME)
    }

    /// How much room the next segment has to have.
    fn aim(&self) -> u64 {
        let leases = if self.short > 0 { 2 * self.live.total() + self.short } else { 0 };
        self.wish.max(leases).max(1)
    }

    /// Whether the frame of that size still leaves the room that the change has to leave.
    fn leaves_room(&self, size: u64, claim: &Claim) -> bool {
        let (before, after) =
            (claim.before.map_or(0, |lease| lease.room), claim.after.map_or(0, |lease| lease.room));
        let needed = (self.live.total() + after).saturating_sub(before);
        let needed = match claim.kind {
            Kind::Outcome => return true,
            Kind::Upkeep => needed,
            // While nobody knows yet whether there is room for the next segment, also for what is not foreseen.
            Kind::Grant if self.spare.is_none() => 2 * needed + self.length / 2,
            Kind::Grant => 2 * needed,
        };
        // All of it in one of the two: what is left of this segment when a frame does not fit is lost.
        let left = match self.room.checked_sub(size) {
            Some(left) => left.max(self.spare_room()),
            None => self.spare_room().saturating_sub(size),
        };
        needed <= left
    }

    /// Adds an entry, if there is room for it and for what holders still have to say. `now` is in µs.
    fn stage(&mut self, entry: &[u8], claim: &Claim, now: impl FnOnce() -> u64) -> Result<Staged, Refused> {
        let size = self.frame.size_with(entry.len());
        if !self.frame.is_empty() && size > LARGE {
            return Err(Refused::Wait(Wait::Visible(self.lsn)));
        }
        let fits = size <= self.room || size <= self.spare_room();
        let is_allowed = fits
            && (self.leaves_room(size, claim) || {
                self.live.forget_lapsed(now());
                self.leaves_room(size, claim)
            });
        if !is_allowed {
            if !fits {
                self.wish = self.wish.max(size);
            }
            if claim.kind != Kind::Outcome {
                let lease = claim.after.map_or(0, |lease| lease.room);
                self.short = self.short.max(size + 2 * lease);
            }
            return Err(match &self.shortage {
                Some(error) => Refused::Error(error.clone()),
                None => Refused::Wait(Wait::Room),
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

/// Refuses a record that would never fit.
pub(crate) fn check_size(record: usize) -> Result<(), StoreError> {
    let most = MAX_FRAME / SECTOR * (SECTOR - 1) - (HEADER + ENTRY_OVERHEAD + LONGEST_KEY) as u64;
    if record as u64 > most {
        return Err(StoreError::TooLarge { size: record as u64, limit: most });
    }
    Ok(())
}

impl Log {
    /// Adds an entry to the frame that is gathering.
    pub(crate) fn stage(&self, entry: &[u8], claim: &Claim) -> Result<Staged, Refused> {
        let mut staging = self.staging.lock();
        // Looked at under the lock: what was staged before the log was poisoned is told so by then.
        if let Some(error) = self.poison() {
            return Err(Refused::Error(error));
        }
        if self.is_closing() {
            return Err(Refused::Error(compaction::ended()));
        }
        let staged = staging.stage(entry, claim, || self.time.now().0.as_micros());
        drop(staging);
        match staged {
            Ok(_) => self.nudge(),
            Err(Refused::Wait(Wait::Room)) => self.want_room(),
            Err(_) => {}
        }
        staged
    }

    /// Leads if there is something to write and nobody else leads. Returns whether it did.
    pub(crate) fn try_lead(&self) -> bool {
        let staging = self.staging.lock();
        if !staging.has_work() || staging.is_led() || self.is_poisoned() {
            return false;
        }
        self.lead(staging);
        true
    }

    /// Writes the frame that has gathered, and wakes those who wait for it.
    fn lead<'l>(&'l self, mut staging: MutexGuard<'l, Staging>) {
        let Some(mut writer) = staging.writer.take() else { return };
        // Those who were woken by the last frame are on their way with more: they are let through as long as they come.
        // Futures come by the thousand, and the fewer frames they make the better; a thread may be waiting for this one.
        let is_for_futures = staging.gathering.threads.is_none();
        let mut count = staging.count;
        while count < staging.last_count || (is_for_futures && count > 1) {
            MutexGuard::unlocked(&mut staging, thread::yield_now);
            if staging.count == count || staging.frame.size_with(0) > LARGE {
                break;
            }
            count = staging.count;
        }
        if self.is_poisoned() {
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
        let next = if size > staging.room { self.take_spare(&mut staging) } else { None };
        staging.room = staging.room.saturating_sub(size);
        drop(staging);

        let written = self.write(&mut writer, &mut frame, lsn, next);
        if let Err(error) = &written {
            self.set_poison("writing the log", error);
        }
        frame.reset();

        let mut staging = self.staging.lock();
        if written.is_ok() {
            self.visible.store(lsn, Ordering::Release);
        }
        staging.idle = frame;
        staging.writer = Some(writer);
        let mut woken = mem::take(&mut staging.in_flight);
        woken.futures.append(&mut staging.for_time);
        self.hand_on(staging, woken);
    }

    /// Wakes those whose frame is written, and one who leads next: of the threads that wait for the next frame, or
    /// the log's own on behalf of futures.
    fn hand_on(&self, staging: MutexGuard<'_, Staging>, woken: Waiters) {
        let next = staging.gathering.threads.clone();
        let has_work = staging.has_work();
        drop(staging);
        woken.wake(&self.notifier);
        match next {
            Some(threads) => threads.call_leader(),
            None if has_work => self.wake_writer(),
            None => {}
        }
    }

    fn take_spare(&self, staging: &mut Staging) -> Option<Spare> {
        let spare = staging.spare.take()?;
        staging.room = spare.length - FIRST_FRAME;
        staging.length = spare.length;
        (staging.wish, staging.short) = (0, 0);
        self.want_room();
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
        let clock = self.time.cover_to();
        let durable_upto = self.synced.load(Ordering::Acquire);
        let header = Header { kind: frame::Kind::Entries, epoch: self.epoch, lsn, durable_upto, clock };
        let bytes = frame.seal(&self.id, header);
        if let Some(spare) = next {
            self.roll(writer, spare, lsn)?;
        }
        if writer.at + bytes.len() as u64 > writer.segment.length {
            return Err(io::Error::other("the segment has no room for the frame"));
        }
        writer.last = checksum_of(bytes);
        writer.segment.begin_frame(writer.at);
        writer.segment.file.write_all_at(bytes, writer.at)?;
        writer.at += bytes.len() as u64;
        if self.settings.sync == SyncMode::Disk {
            writer.segment.sync()?;
            self.synced.fetch_max(lsn, Ordering::Release);
        }
        self.time.cover(clock);
        Ok(())
    }

    /// Goes on in the next segment. Everything in the one before is synced by then, so that only the last segment can
    /// have a torn tail.
    fn roll(&self, writer: &mut Writer, spare: Spare, first_lsn: u64) -> io::Result<()> {
        if self.settings.sync != SyncMode::Disk {
            writer.segment.sync()?;
            self.synced.fetch_max(first_lsn - 1, Ordering::Release);
        }
        let Spare { number, length, file } = spare;
        let header = SegmentHeader { number, epoch: self.epoch, first_lsn, former: writer.last, length };
        let segment = Segment::begin(file, &header, &self.id)?;
        self.files.write().segments.push(Arc::clone(&segment));
        writer.segment = segment;
        writer.at = FIRST_FRAME;
        Ok(())
    }

    /// Has the log go on in a new segment, if one is ready and somebody else does not lead; says whether it does.
    pub(crate) fn try_roll(&self) -> io::Result<bool> {
        let mut staging = self.staging.lock();
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
            self.set_poison("beginning a new segment", error);
        }
        let mut staging = self.staging.lock();
        staging.writer = Some(writer);
        self.hand_on(staging, Waiters::default());
        rolled.map(|()| true)
    }

    /// Waits on this thread until the frame is visible or the log is poisoned, and leads if nobody else does. Returns now and then
    /// in any case.
    pub(crate) fn wait_visible(&self, lsn: u64) {
        while lsn > self.visible.load(Ordering::Acquire) && !self.is_poisoned() {
            let mut staging = self.staging.lock();
            if self.is_over(Wait::Visible(lsn), &staging) {
                return;
            }
            if !staging.is_led() {
                self.lead(staging);
                continue;
            }
            let threads = Arc::clone(staging.waiters(lsn).threads.get_or_insert_default());
            drop(staging);
            if !threads.wait() {
                return;
            }
        }
    }

    /// Notes who has to be woken when `wait` is over; `false` if it already is.
    pub(crate) fn enlist(&self, wait: Wait, context: &Context<'_>) -> bool {
        // A waker is code of the caller's, which may block or panic: none of it runs under the lock.
        let mut waker = Some(CallerWaker::of(context));
        let mut staging = self.staging.lock();
        if self.is_over(wait, &staging) {
            return false;
        }
        let list = match wait {
            Wait::Room => &mut staging.for_room,
            Wait::Time => &mut staging.for_time,
            Wait::Visible(lsn) => &mut staging.waiters(lsn).futures,
        };
        if !list.last().is_some_and(|last| last.is_of(context)) {
            list.extend(waker.take());
        }
        drop(staging);
        match wait {
            Wait::Visible(_) => self.wake_writer(),
            Wait::Room => self.want_room(),
            Wait::Time => self.wait_for_time(),
        }
        true
    }

    fn is_over(&self, wait: Wait, staging: &Staging) -> bool {
        self.is_poisoned()
            || match wait {
                Wait::Visible(lsn) => lsn <= self.visible.load(Ordering::Acquire),
                Wait::Room => staging.shortage.is_some() || staging.spare_room() >= staging.aim(),
                Wait::Time => self.time.is_covered(),
            }
    }

    /// What `wait` came to: nothing yet, the end of it, or an error.
    pub(crate) fn outcome(&self, wait: Wait) -> Option<Result<(), StoreError>> {
        let over = match wait {
            Wait::Visible(lsn) => lsn <= self.visible.load(Ordering::Acquire),
            Wait::Time => self.time.is_covered(),
            Wait::Room => !self.is_poisoned() && self.is_over(wait, &self.staging.lock()),
        };
        if over { Some(Ok(())) } else { self.poison().map(Err) }
    }

    /// What the next segment should be, if one has to be made or made longer.
    pub(crate) fn wanted_spare(&self) -> Option<Wanted> {
        let now = self.time.now().0.as_micros();
        let mut staging = self.staging.lock();
        staging.live.forget_lapsed(now);
        let least = (staging.aim().div_ceil(SECTOR) * SECTOR + FIRST_FRAME).max(LEAST_SEGMENT);
        let is_needed = staging.has_work() && staging.frame.size_with(0) > staging.room;
        let there = match &staging.spare {
            Some(spare) if spare.length >= least || is_needed => {
                // It is long enough again, because leases have ended.
                staging.shortage = None;
                let woken = mem::take(&mut staging.for_room);
                drop(staging);
                self.notifier.wake(woken);
                return None;
            }
            Some(_) => staging.spare.take(),
            None => None,
        };
        // What the leases need that there are now, and half as much again, so that it is not made longer all the time.
        let leases = (2 * staging.live.total() + FIRST_FRAME).max(least);
        let roomy = (leases + leases / 2).div_ceil(SECTOR) * SECTOR;
        let usual = (staging.length * 2).min(self.settings.max_segment);
        let length = if leases > usual { roomy } else { usual };
        Some(Wanted { length, least, there })
    }

    /// Puts the next segment in place, and says why it is not there or too short, if it is.
    pub(crate) fn offer_spare(&self, spare: Option<Spare>, shortage: Option<StoreError>) {
        let mut staging = self.staging.lock();
        staging.shortage = shortage;
        staging.spare = spare;
        let woken = mem::take(&mut staging.for_room);
        drop(staging);
        self.notifier.wake(woken);
    }

    /// Bytes that the outcomes of all live leases take.
    pub(crate) fn live_room(&self) -> u64 {
        let now = self.time.now().0.as_micros();
        let mut staging = self.staging.lock();
        staging.live.forget_lapsed(now);
        staging.live.total()
    }

    pub(crate) fn has_spare(&self) -> bool {
        self.staging.lock().spare.is_some()
    }

    pub(crate) fn take_spare_away(&self) -> Option<Spare> {
        self.staging.lock().spare.take()
    }

    /// Those who wait for time to be covered may look again.
    pub(crate) fn time_is_covered(&self) {
        let woken = mem::take(&mut self.staging.lock().for_time);
        self.notifier.wake(woken);
    }

    /// What is written to, unless somebody leads.
    pub(crate) fn writer_position(&self) -> Option<(Arc<Segment>, u64)> {
        let staging = self.staging.lock();
        staging.writer.as_ref().map(|writer| (Arc::clone(&writer.segment), writer.at))
    }
}

/// The last four bytes of a frame's header.
pub(crate) fn checksum_of(frame: &[u8]) -> u32 {
    let bytes = frame.get(HEADER - 4..HEADER).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

/// The file's name, for messages.
pub(crate) fn name_of(segment: &Segment) -> String {
    segment_name(segment.number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use lessor_core::{Error, ErrorKind};

    use super::*;

    /// It was said that the disk is full, which no caller can do anything about.
    #[test]
    fn p12_a_record_that_fits_into_no_log_is_the_callers_mistake() {
        check_size(250 << 20).unwrap();
        let error = check_size(256 << 20).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { size: 268_435_456, .. }), "{error}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    }
}
