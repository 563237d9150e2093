//! The log's two threads: the writer leads commits for those who cannot, the keeper makes room ahead and compacts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lessor_core::StoreError;

use crate::closing::{self, Bound};
use crate::commit::Wanted;
use crate::compaction;
use crate::frame::SECTOR;
use crate::log::Log;
use crate::problem::{Problem, is_full};
use crate::segment::{Spare, Unextended, segment_name};
use crate::settings::SyncMode;
use crate::superblock::Superblock;

/// What was staged and is not led within two of these is led by the writer.
pub(crate) const TICK: Duration = Duration::from_millis(2);
/// After so many ticks without anything to do the writer sleeps until it is told.
const PATIENCE: u32 = 50;
/// How soon the next segment is tried to be made again, at first and at last.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Starts both. The writer joins the keeper and closes the log when it is told to stop.
pub(crate) fn start(log: &Arc<Log>, next_segment: u64) -> io::Result<JoinHandle<()>> {
    let keeper = {
        let log = Arc::clone(log);
        let builder = thread::Builder::new().name("lessor-file-keeper".to_owned());
        builder.spawn(move || Keeper::new(&log, next_segment).run())?
    };
    let _ = log.threads.keeper.set(keeper.thread().clone());
    let writer = {
        let log = Arc::clone(log);
        let builder = thread::Builder::new().name("lessor-file-writer".to_owned());
        builder.spawn(move || write(&log, keeper))
    };
    match writer {
        Ok(writer) => {
            let _ = log.threads.writer.set(writer.thread().clone());
            Ok(writer)
        }
        Err(error) => {
            stop(log, Bound::Little);
            Err(error)
        }
    }
}

/// Has both threads end, and the log be closed.
pub(crate) fn stop(log: &Log, bound: Bound) {
    log.ending.begin(bound);
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
        let is_behind = log.settings.sync == SyncMode::Process
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
    closing::end(log);
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

/// With [`SyncMode::Process`]: catches up with what was written.
pub(crate) fn sync(log: &Log) {
    // A segment that is not the last one was synced when it was left.
    let written = log.visible.load(Ordering::Acquire);
    let Some(segment) = log.files.read().segments.last().cloned() else { return };
    match segment.sync() {
        Ok(()) => drop(log.synced.fetch_max(written, Ordering::Release)),
        Err(error) => log.set_poison("syncing the log", &error),
    }
}

struct Keeper<'l> {
    log: &'l Arc<Log>,
    /// The number of the next segment to be made.
    next: u64,
    /// When to try again, after the next segment could not be made.
    retry: Option<Duration>,
    /// A longer segment could not be made.
    most: u64,
}

impl<'l> Keeper<'l> {
    fn new(log: &'l Arc<Log>, next: u64) -> Self {
        Self { log, next, retry: None, most: u64::MAX }
    }

    fn run(&mut self) {
        let log = self.log;
        while !log.threads.is_stopping.load(Ordering::SeqCst) {
            log.threads.is_keeper_wanted.store(false, Ordering::SeqCst);
            self.make_room();
            compaction::run_if_due(log, &mut |_| {
                if log.is_closing() {
                    return Err(compaction::ended());
                }
                // Commits must not wait for room until the end of the compaction.
                if log.threads.is_room_wanted.load(Ordering::Relaxed) && self.retry.is_none() {
                    self.make_room();
                }
                Ok(())
            });
            // A compaction parks as well, so having been unparked says nothing.
            if log.threads.is_keeper_wanted.load(Ordering::SeqCst) && self.retry.is_none() {
                continue;
            }
            match self.retry {
                Some(wait) => thread::park_timeout(wait),
                None => thread::park(),
            }
        }
        compaction::refuse_all(log);
    }

    /// Has the superblock know of the segment that was begun last: else nothing would tell that it is missing, should it get lost
    /// whole.
    fn note_synced(&self) {
        let synced = self.log.synced.load(Ordering::Acquire);
        let mut superblock = self.log.superblock.lock();
        let update = |block: &mut Superblock| {
            block.synced = synced;
            self.log.note_epoch(block);
        };
        if superblock.block().synced < synced
            && let Err(error) = superblock.update(update)
        {
            drop(superblock);
            self.log.set_poison("writing the superblock", &error);
        }
    }

    /// Makes the next segment if one is wanted, or the one that is there longer.
    fn make_room(&mut self) {
        let log = self.log;
        log.threads.is_room_wanted.store(false, Ordering::SeqCst);
        if log.is_poisoned() {
            return;
        }
        let Some(wanted) = log.wanted_spare() else {
            self.retry = None;
            return;
        };
        match self.make(wanted) {
            (spare, None) => {
                if self.retry.take().is_some() {
                    tracing::info!(place = log.vfs.place(), "there is room for the log again");
                }
                self.most = u64::MAX;
                log.offer_spare(spare, None);
                self.note_synced();
            }
            // Nothing that was acknowledged depends on that file: the log goes on with the room that it has.
            (spare, Some(problem)) => {
                let is_unnamed = matches!(problem, Problem::Unnamed { .. });
                let error = no_room(problem);
                if self.retry.is_none() {
                    tracing::warn!(%error, place = log.vfs.place(), "no more leases are granted for now");
                }
                let longer = self.retry.map_or(RETRY, |wait| (wait * 2).min(LONGEST_RETRY));
                self.retry = Some(longer);
                if is_unnamed {
                    log.doubts.fetch_add(1, Ordering::SeqCst);
                }
                log.offer_spare(spare, Some(error));
            }
        }
    }

    /// The next segment, and why it is not as long as it has to be, if it is not. Where there is not enough room for a long one, a
    /// shorter one will do.
    fn make(&mut self, wanted: Wanted) -> (Option<Spare>, Option<Problem>) {
        let Wanted { length, least, mut there } = wanted;
        let mut length = length.min(self.most).max(least);
        loop {
            let made = match there.take() {
                None => self.create(length),
                Some(spare) => self.extend(spare, length, &mut there),
            };
            let problem = match made {
                Ok(spare) => return (Some(spare), None),
                Err(problem) => problem,
            };
            if !matches!(&problem, Problem::Io { error, .. } if may_be_shorter(error) && length > least) {
                return (there, Some(problem));
            }
            length = (length / 2 / SECTOR * SECTOR).max(least);
            self.most = length;
        }
    }

    fn create(&mut self, length: u64) -> Result<Spare, Problem> {
        let vfs = &*self.log.vfs;
        let name = segment_name(self.next);
        // What a try before has left.
        if self.retry.is_some()
            && let Err(error) = vfs.remove(&name)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Problem::io(vfs, &name, "removing", error));
        }
        let spare = Spare::create(vfs, self.next, length)?;
        self.next += 1;
        Ok(spare)
    }

    /// `kept` is the spare as it was, if it is still there after a failure.
    fn extend(&mut self, spare: Spare, length: u64, kept: &mut Option<Spare>) -> Result<Spare, Problem> {
        let number = spare.number;
        let name = segment_name(number);
        let error = match spare.extend(length) {
            Ok(spare) => return Ok(spare),
            Err(Unextended::Kept(spare, error)) => {
                *kept = Some(spare);
                error
            }
            Err(Unextended::Lost(error)) => {
                let _ = self.log.vfs.remove(&name);
                self.next = number;
                error
            }
        };
        Err(Problem::io(&*self.log.vfs, &name, "making room in", error))
    }
}

/// A file of half the length may be possible.
fn may_be_shorter(error: &io::Error) -> bool {
    is_full(error) || error.kind() == io::ErrorKind::FileTooLarge
}

/// What callers are told whose leases are not granted meanwhile.
fn no_room(problem: Problem) -> StoreError {
    const AGAIN: &str = "no lease is granted until a segment of the log can be made, which is tried again";
    match StoreError::from(problem) {
        StoreError::Full { reason } => StoreError::Full { reason: format!("{AGAIN}: {reason}") },
        StoreError::Unavailable { reason } => {
            StoreError::Unavailable { reason: format!("{AGAIN}: {reason}") }
        }
        other => other,
    }
}
