//! The log's two threads: the writer leads commits for those who cannot, the keeper makes room ahead and compacts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lessor_core::StoreError;

use crate::compaction;
use crate::log::Log;
use crate::problem::{Problem, is_full};
use crate::segment::{Spare, segment_name};
use crate::settings::Sync;
use crate::superblock::Superblock;

/// What was staged and is not led within two of these is led by the writer.
const TICK: Duration = Duration::from_millis(2);
/// After so many ticks without anything to do the writer sleeps until it is told.
const PATIENCE: u32 = 50;
/// How soon to look again for room on a full disk.
const RETRY: Duration = Duration::from_millis(200);

/// Starts both. The writer joins the keeper and closes the log when it is told to stop.
pub(crate) fn start(log: &Arc<Log>, next_segment: u64) -> io::Result<JoinHandle<()>> {
    let keeper = {
        let log = Arc::clone(log);
        let builder = thread::Builder::new().name("lessor-log-keeper".to_owned());
        builder.spawn(move || Keeper { next: next_segment, is_full: false, log: &log }.run())?
    };
    let _ = log.threads.keeper.set(keeper.thread().clone());
    let writer = {
        let log = Arc::clone(log);
        let builder = thread::Builder::new().name("lessor-log-writer".to_owned());
        builder.spawn(move || write(&log, keeper))
    };
    match writer {
        Ok(writer) => {
            let _ = log.threads.writer.set(writer.thread().clone());
            Ok(writer)
        }
        Err(error) => {
            stop(log);
            Err(error)
        }
    }
}

/// Tells both threads to end.
pub(crate) fn stop(log: &Log) {
    log.threads.is_stopping.store(true, Ordering::SeqCst);
    log.threads.is_idle.store(false, Ordering::SeqCst);
    log.threads.is_keeper_wanted.store(true, Ordering::SeqCst);
    for thread in [&log.threads.keeper, &log.threads.writer] {
        thread.get().inspect(|thread| thread.unpark());
    }
}

fn write(log: &Arc<Log>, keeper: JoinHandle<()>) {
    let threads = &log.threads;
    // The frame that was gathering a tick ago.
    let mut seen = 0;
    let mut quiet = 0;
    let mut was_short = false;
    let mut unsynced = Duration::ZERO;
    loop {
        let is_stopping = threads.is_stopping.load(Ordering::SeqCst);
        let is_urgent = threads.is_urgent.swap(false, Ordering::SeqCst);
        // Who only reads the time ahead of a write gets it covered by that write: that is given a tick.
        if threads.is_time_waited_for.swap(false, Ordering::SeqCst) || was_short {
            cover_time(log);
        }
        was_short = threads.is_time_short.swap(false, Ordering::SeqCst);
        let (lsn, has_work, is_led) = {
            let staging = log.staging.lock();
            (staging.lsn, staging.has_work(), staging.is_led())
        };
        if has_work && !is_led && !log.is_poisoned() && (is_urgent || is_stopping || lsn == seen) {
            log.try_lead();
            quiet = 0;
            continue;
        }
        if is_stopping && !is_led && (!has_work || log.is_poisoned()) {
            break;
        }
        seen = if has_work { lsn } else { 0 };
        quiet = if has_work || is_led || was_short { 0 } else { quiet + 1 };
        let is_behind = log.settings.sync == Sync::Process
            && log.synced.load(Ordering::Acquire) < log.visible.load(Ordering::Acquire);
        if is_behind && unsynced >= log.settings.sync_every {
            unsynced = Duration::ZERO;
            sync(log);
        }
        if quiet < PATIENCE {
            thread::park_timeout(TICK);
            unsynced += TICK;
            continue;
        }
        threads.is_idle.store(true, Ordering::SeqCst);
        let was_asked = [&threads.is_stopping, &threads.is_time_short, &threads.is_time_waited_for];
        if log.staging.lock().has_work() || was_asked.iter().any(|flag| flag.load(Ordering::SeqCst)) {
            // Before the flag was seen.
            threads.is_idle.store(false, Ordering::SeqCst);
        } else if is_behind {
            thread::park_timeout(log.settings.sync_every);
            unsynced += log.settings.sync_every;
        } else {
            thread::park();
        }
        threads.is_idle.store(false, Ordering::SeqCst);
        quiet = 0;
    }
    // The keeper may be waiting for something that a call of its own would bring.
    threads.keeper.get().inspect(|thread| thread.unpark());
    let _ = keeper.join();
    let _ = threads.closed.set(close(log));
    log.lock.lock().take();
}

/// Has the superblock say up to when time may be told, unless frames do.
fn cover_time(log: &Log) {
    let (_, is_short) = log.time.now();
    if is_short && !log.is_poisoned() {
        let clock = log.time.cover_to();
        let synced = log.synced.load(Ordering::Acquire);
        let update = |block: &mut Superblock| {
            block.clock = block.clock.max(clock);
            block.synced = block.synced.max(synced);
        };
        match log.superblock.lock().update(update) {
            Ok(()) => log.time.cover(clock),
            Err(error) => log.set_poison("writing the superblock", &error),
        }
    }
    log.time_is_covered();
}

/// With [`Sync::Process`]: catches up with what was written.
pub(crate) fn sync(log: &Log) {
    // A segment that is not the last one was synced when it was left.
    let written = log.visible.load(Ordering::Acquire);
    let Some(segment) = log.files.read().segments.last().cloned() else { return };
    match segment.sync() {
        Ok(()) => drop(log.synced.fetch_max(written, Ordering::Release)),
        Err(error) => log.set_poison("syncing the log", &error),
    }
}

/// Leaves the log so that the next opening has nothing to find out.
fn close(log: &Log) -> Result<(), StoreError> {
    while !log.try_close() {
        // Somebody who was not told yet is still writing, or is about to.
        if !log.try_lead() {
            thread::park_timeout(TICK);
        }
    }
    if let Some(error) = log.failure() {
        return Err(error);
    }
    sync(log);
    if let Some(error) = log.failure() {
        return Err(error);
    }
    if let Err(error) = compaction::compact_at_close(log) {
        tracing::warn!(%error, place = log.vfs.place(), "the log could not be compacted while it was closed");
    }
    if let Some(error) = log.failure() {
        return Err(error);
    }
    let failed = |error| StoreError::from(Problem::io(&*log.vfs, "superblock", "writing", error));
    if let Some(spare) = log.take_spare_away() {
        let name = segment_name(spare.number);
        drop(spare);
        log.vfs.remove(&name).map_err(|error| Problem::io(&*log.vfs, &name, "removing", error))?;
    }
    let end = log.writer_position();
    let synced = log.synced.load(Ordering::Acquire);
    let now = log.time.close();
    let trimmed = end.as_ref().map_or(0, |(segment, _)| segment.number);
    let update = |block: &mut Superblock| {
        block.synced = block.synced.max(synced);
        block.clock = now;
        block.trimmed = trimmed;
        block.is_clean = true;
    };
    log.superblock.lock().update(update).map_err(failed)?;
    if let Some((segment, at)) = end {
        // Only to save room: nothing depends on it.
        if let Err(error) = segment.file.cut(at) {
            tracing::warn!(%error, "the log's last segment could not be cut to what is used of it");
        }
    }
    Ok(())
}

struct Keeper<'l> {
    log: &'l Arc<Log>,
    /// The number of the next segment to be made.
    next: u64,
    /// There was no room on the disk for it.
    is_full: bool,
}

impl Keeper<'_> {
    fn run(&mut self) {
        let log = self.log;
        while !log.threads.is_stopping.load(Ordering::SeqCst) {
            log.threads.is_keeper_wanted.store(false, Ordering::SeqCst);
            self.make_room();
            compaction::run_if_due(log, &mut || {
                if log.is_closing() {
                    return Err(compaction::ended());
                }
                // Commits must not wait for room until the end of the compaction.
                if log.threads.is_room_wanted.load(Ordering::Relaxed) && !self.is_full {
                    self.make_room();
                }
                Ok(())
            });
            // A compaction parks as well, so having been unparked says nothing.
            if log.threads.is_keeper_wanted.load(Ordering::SeqCst) {
                continue;
            }
            if self.is_full {
                thread::park_timeout(RETRY);
            } else {
                thread::park();
            }
        }
        compaction::refuse_all(log);
    }

    /// Has the superblock know of the segment that was begun last: else nothing would tell that it is missing, should it get lost
    /// whole.
    fn note_synced(&self) {
        let synced = self.log.synced.load(Ordering::Acquire);
        let mut superblock = self.log.superblock.lock();
        if superblock.block().synced < synced
            && let Err(error) = superblock.update(|block| block.synced = synced)
        {
            drop(superblock);
            self.log.set_poison("writing the superblock", &error);
        }
    }

    /// Makes the next segment if one is wanted.
    fn make_room(&mut self) {
        let log = self.log;
        self.is_full = false;
        log.threads.is_room_wanted.store(false, Ordering::SeqCst);
        if log.is_poisoned() {
            return;
        }
        let Some((length, small)) = log.wanted_spare() else { return };
        if let Some(small) = small {
            let name = segment_name(small.number);
            self.next = small.number;
            drop(small);
            if let Err(error) = log.vfs.remove(&name) {
                log.set_poison("removing a segment", &error);
                return;
            }
        }
        match Spare::create(&*log.vfs, self.next, length) {
            Ok(spare) => {
                self.next += 1;
                log.offer_spare(Some(spare));
                self.note_synced();
            }
            Err(Problem::Io { error, .. }) if is_full(&error) => {
                tracing::warn!(place = log.vfs.place(), "the disk is full: no more leases are granted");
                self.is_full = true;
                log.offer_spare(None);
            }
            Err(problem) => {
                log.set_poison("making a segment", &io::Error::other(StoreError::from(problem).to_string()));
            }
        }
    }
}
