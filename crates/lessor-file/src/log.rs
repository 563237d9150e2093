//! An open log: what its callers, its writer thread and its keeper thread share.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::Thread;

use lessor_core::store::{Notifier, may_block};
use lessor_core::{Key, Record, StoreError, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::closing::Ending;
use crate::commit::{Staging, Wait, Writer, name_of};
use crate::entry;
use crate::frame::{self, LogId, SECTOR};
use crate::index::{Home, Index, Place};
use crate::live::Live;
use crate::process::Process;
use crate::reader::Reader;
use crate::segment::{Segment, checkpoint_name};
use crate::settings::Settings;
use crate::store::Engines;
use crate::superblock;
use crate::time::{Source, Time};
use lessor_vfs::{File, Lock, Vfs};

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) settings: Settings,
    pub(crate) id: LogId,
    pub(crate) epoch: u32,
    pub(crate) process: Process,
    pub(crate) time: Time,
    pub(crate) source: Source,
    pub(crate) index: Index,
    pub(crate) files: RwLock<Files>,
    /// The first segment that this opening begins.
    pub(crate) own: u64,
    /// There were so many segments that a compaction is due.
    pub(crate) is_crowded: AtomicBool,
    /// How often a sync of the folder failed while a segment was made: the names of other files may be lost by that.
    pub(crate) doubts: AtomicU64,
    pub(crate) staging: Mutex<Staging>,
    /// Frames up to this LSN are as durable as the settings say, and may be shown.
    pub(crate) visible: AtomicU64,
    /// Frames up to this LSN are synced.
    pub(crate) synced: AtomicU64,
    /// The highest token of any record that was dropped.
    pub(crate) purged: AtomicU64,
    /// Locked by the two threads only, which hold it while they sync the block. No caller waits for it.
    pub(crate) superblock: Mutex<superblock::Keeper>,
    /// The first failed write or sync: from then on nothing is written.
    poison: OnceLock<Poison>,
    poisoned: AtomicBool,
    pub(crate) threads: Threads,
    pub(crate) ending: Ending,
    pub(crate) reader: Reader,
    pub(crate) notifier: Notifier,
    pub(crate) engines: Engines,
    /// Held until the log is closed.
    pub(crate) lock: Mutex<Option<Lock>>,
}

/// Where records are read back from.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// In the order of their numbers; the last one is written to.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The one that counts, and for a moment the one that takes its place.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) length: u64,
}

#[derive(Debug)]
struct Poison {
    /// Frames from this one on may or may not be on the disk; those behind it are not.
    from: u64,
    reason: String,
}

/// How the log's threads are told that there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    pub(crate) writer: OnceLock<Thread>,
    pub(crate) keeper: OnceLock<Thread>,
    /// A future waits, or nobody else will lead.
    pub(crate) is_urgent: AtomicBool,
    /// The writer sleeps until it is told.
    pub(crate) is_idle: AtomicBool,
    /// Time will be uncovered soon, or somebody waits for it to be covered.
    pub(crate) is_time_short: AtomicBool,
    pub(crate) is_time_waited_for: AtomicBool,
    pub(crate) is_stopping: AtomicBool,
    /// The keeper has something to look at.
    pub(crate) is_keeper_wanted: AtomicBool,
    /// It is the next segment.
    pub(crate) is_room_wanted: AtomicBool,
    /// A compaction was asked for.
    pub(crate) compactions: Mutex<Vec<Sender<Result<(), StoreError>>>>,
}

/// What an opening has put together.
pub(crate) struct Parts {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) settings: Settings,
    pub(crate) id: LogId,
    pub(crate) epoch: u32,
    pub(crate) time: Time,
    pub(crate) source: Source,
    pub(crate) index: Index,
    pub(crate) files: Files,
    pub(crate) writer: Writer,
    /// The last frame there is.
    pub(crate) end: u64,
    /// The first segment that this opening begins.
    pub(crate) own: u64,
    /// There are so many segments that a compaction is due.
    pub(crate) is_crowded: bool,
    pub(crate) live: Live,
    pub(crate) purged: u64,
    pub(crate) superblock: superblock::Keeper,
    pub(crate) lock: Lock,
}

impl Log {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            vfs: parts.vfs,
            settings: parts.settings,
            id: parts.id,
            epoch: parts.epoch,
            process: Process::this(),
            time: parts.time,
            source: parts.source,
            index: parts.index,
            files: RwLock::new(parts.files),
            own: parts.own,
            is_crowded: AtomicBool::new(parts.is_crowded),
            doubts: AtomicU64::new(0),
            staging: Mutex::new(Staging::new(parts.end + 1, parts.writer, parts.live)),
            visible: AtomicU64::new(parts.end),
            synced: AtomicU64::new(parts.end),
            purged: AtomicU64::new(parts.purged),
            superblock: Mutex::new(parts.superblock),
            poison: OnceLock::new(),
            poisoned: AtomicBool::new(false),
            threads: Threads::default(),
            ending: Ending::default(),
            reader: Reader::default(),
            notifier: Notifier::new(),
            engines: Engines::default(),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    /// Refuses to work in a child that was forked from the process that opened the log: its threads are not there, a lock may be
    /// held for ever, and the files are the parent's.
    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        self.process.check()
    }

    /// The same for what is asked too often to ask the system each time: at most a millisecond late.
    pub(crate) fn check_process_at(&self, now: Timestamp) -> Result<(), StoreError> {
        self.process.check_at(now)
    }

    pub(crate) fn is_known_to_be_forked(&self) -> bool {
        self.process.is_another()
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Why nothing is written any more.
    pub(crate) fn poison(&self) -> Option<StoreError> {
        if !self.is_poisoned() {
            return None;
        }
        let reason = self.poison.get().map_or("the log is closed", |poison| &poison.reason);
        Some(StoreError::Unavailable { reason: reason.to_owned() })
    }

    /// What the one is told whose write was in a frame that was not acknowledged.
    fn lost(&self, lsn: u64, error: StoreError) -> StoreError {
        match self.poison.get() {
            Some(poison) if lsn <= poison.from => StoreError::Indeterminate { reason: poison.reason.clone() },
            _ => error,
        }
    }

    pub(crate) fn set_poison(&self, doing: &str, error: &io::Error) {
        let place = self.vfs.place();
        let reason = format!(
            "{doing} in {place} failed, and nothing is written until the log is opened anew: {error}"
        );
        tracing::error!(%error, place, "{doing} failed; the log takes no more writes until it is opened anew");
        // Under the lock, so that no frame begins to be written that is not among those in doubt.
        let mut staging = self.staging.lock();
        let _ = self.poison.set(Poison { from: staging.lsn - 1, reason });
        self.poisoned.store(true, Ordering::Release);
        let waiting = staging.take_waiting();
        drop(staging);
        waiting.wake(&self.notifier);
    }

    /// Takes no more writes, because the log is being closed; not while any are under way. Returns whether none is.
    pub(crate) fn try_close(&self) -> bool {
        let mut staging = self.staging.lock();
        let is_over = !staging.is_led() && (self.is_poisoned() || !staging.has_work());
        if is_over {
            self.poisoned.store(true, Ordering::Release);
            let waiting = staging.take_waiting();
            drop(staging);
            waiting.wake(&self.notifier);
        }
        is_over
    }

    /// Whether the log is being closed, so that nothing more is taken on.
    pub(crate) fn is_closing(&self) -> bool {
        self.threads.is_stopping.load(Ordering::SeqCst)
    }

    /// The first failed write or sync.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        let reason = self.poison.get()?.reason.clone();
        Some(StoreError::Unavailable { reason })
    }

    /// Has the superblock know of this opening, once a segment of it is on the disk.
    pub(crate) fn note_epoch(&self, block: &mut superblock::Superblock) {
        let files = self.files.read();
        let begun = files.segments.last().filter(|last| last.number >= self.own);
        if begun.is_some_and(|last| last.first_lsn <= block.synced) {
            block.epoch = block.epoch.max(self.epoch);
        }
    }

    /// The writer looks after what is staged, should nobody else.
    pub(crate) fn nudge(&self) {
        if self.threads.is_idle.load(Ordering::Relaxed) && self.threads.is_idle.swap(false, Ordering::SeqCst)
        {
            self.threads.writer.get().inspect(|thread| thread.unpark());
        }
    }

    /// The writer leads as soon as it can.
    pub(crate) fn wake_writer(&self) {
        if !self.threads.is_urgent.swap(true, Ordering::SeqCst) {
            self.threads.writer.get().inspect(|thread| thread.unpark());
        }
    }

    pub(crate) fn time_is_short(&self) {
        if !self.threads.is_time_short.load(Ordering::Relaxed)
            && !self.threads.is_time_short.swap(true, Ordering::SeqCst)
        {
            self.nudge();
        }
    }

    pub(crate) fn wait_for_time(&self) {
        if !self.threads.is_time_waited_for.swap(true, Ordering::SeqCst) {
            self.threads.writer.get().inspect(|thread| thread.unpark());
        }
    }

    /// The keeper makes the next segment, also in the middle of a compaction.
    pub(crate) fn want_room(&self) {
        self.threads.is_room_wanted.store(true, Ordering::SeqCst);
        self.wake_keeper();
    }

    pub(crate) fn wake_keeper(&self) {
        self.threads.is_keeper_wanted.store(true, Ordering::SeqCst);
        self.threads.keeper.get().inspect(|thread| thread.unpark());
    }

    /// The encoded record at a place; `None` if it has moved since, so that its slot has to be looked at again.
    pub(crate) fn read(&self, key: &Key, lsn: u64, place: &Place) -> Result<Option<Vec<u8>>, StoreError> {
        let files = self.files.read();
        let (file, offset, name) = match place.home {
            Home::Log => {
                let found = files
                    .segments
                    .iter()
                    .rev()
                    .find_map(|segment| segment.offset_of(lsn).map(|offset| (segment, offset)));
                let Some((segment, offset)) = found else { return Ok(None) };
                (Arc::clone(&segment.file), offset, name_of(segment))
            }
            Home::Checkpoint { number, sector } => {
                let mut checkpoints = files.checkpoints.iter();
                let found = checkpoints.find(|checkpoint| checkpoint.number == u64::from(number.get()));
                let Some(checkpoint) = found else { return Ok(None) };
                let name = checkpoint_name(checkpoint.number);
                (Arc::clone(&checkpoint.file), u64::from(sector) * SECTOR, name)
            }
        };
        drop(files);
        let place_of = || format!("{}/{name}, byte {offset}", self.vfs.place());
        let bytes =
            frame::read_part(&*file, offset, place.position.into(), place.length).map_err(|error| {
                StoreError::Unavailable { reason: format!("reading {}: {error}", place_of()) }
            })?;
        if entry::checksum(key, &bytes) != place.checksum {
            let reason = "a record does not match its checksum".to_owned();
            return Err(StoreError::Corrupt { place: place_of(), reason });
        }
        Ok(Some(bytes))
    }

    /// The record at a place. See [`read`](Self::read).
    pub(crate) fn read_record(
        &self,
        key: &Key,
        lsn: u64,
        place: &Place,
    ) -> Result<Option<Record>, StoreError> {
        let Some(bytes) = self.read(key, lsn, place)? else { return Ok(None) };
        let record =
            Record::decode(&bytes).map_err(|error| StoreError::undecodable(format!("key {key:?}"), error))?;
        Ok(Some(record))
    }
}

/// Resolves when there is no need to wait any more.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) log: Arc<Log>,
    pub(crate) wait: Wait,
    is_over: bool,
    /// It was polled before.
    is_waiting: bool,
}

impl Waiting {
    pub(crate) fn new(log: &Arc<Log>, wait: Wait) -> Self {
        Self { log: Arc::clone(log), wait, is_over: false, is_waiting: false }
    }

    /// What a writer is told that waits for its own frame.
    pub(crate) fn told(&self, error: StoreError) -> StoreError {
        match self.wait {
            Wait::Visible(lsn) => self.log.lost(lsn, error),
            _ => error,
        }
    }
}

impl Future for Waiting {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(outcome) = self.log.outcome(self.wait) {
                self.is_over = true;
                return Poll::Ready(outcome);
            }
            // What is not over by the second look may never be: this may be a forked child.
            if std::mem::replace(&mut self.is_waiting, true) {
                self.log.check_process()?;
            }
            match self.wait {
                // Bounded by the time that a few syncs take.
                Wait::Visible(lsn) if may_block() => self.log.wait_visible(lsn),
                wait => {
                    if self.log.enlist(wait, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// Somebody who might have led has gone.
impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over && matches!(self.wait, Wait::Visible(_)) {
            self.log.wake_writer();
        }
    }
}
