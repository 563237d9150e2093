//! The state of an open log, which callers, the writer thread and the maintenance thread share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lessor_core::store::Notifier;
use lessor_core::{Cause, StoreError, Timestamp};
use lessor_vfs::{Lock, Vfs};
use parking_lot::Mutex;

use crate::format::frame::LogId;
use crate::format::superblock::{Superblock, SuperblockFile};
use crate::index::Index;
use crate::log::catalog::Catalog;
use crate::log::clock::ClockReservation;
use crate::log::close_state::{CloseLimit, CloseState};
use crate::log::committer::Committer;
use crate::log::poison::Poison;
use crate::log::reader::Reader;
use crate::log::signals::Signals;
use crate::problem::copy_of;
use crate::process::Process;
use crate::settings::Settings;

pub(crate) mod catalog;
pub(crate) mod clock;
pub(crate) mod close_state;
pub(crate) mod committer;
pub(crate) mod lease_space;
pub(crate) mod poison;
pub(crate) mod reader;
pub(crate) mod signals;
pub(crate) mod staging;
pub(crate) mod waiters;

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) settings: Settings,
    pub(crate) id: LogId,
    /// The epoch of this opening.
    pub(crate) epoch: u32,
    pub(crate) process: Process,
    pub(crate) clock: ClockReservation,
    pub(crate) index: Index,
    /// The highest token of any record that was purged.
    pub(crate) token_floor: AtomicU64,
    pub(crate) catalog: Catalog,
    pub(crate) committer: Committer,
    /// Locked by the two threads only, which hold the lock while they sync. No caller waits for it.
    pub(crate) superblock: Mutex<SuperblockFile>,
    pub(crate) poison: Poison,
    pub(crate) signals: Signals,
    pub(crate) close_state: CloseState,
    pub(crate) reader: Reader,
    pub(crate) notifier: Notifier,
    /// Held until the log is closed.
    pub(crate) lock: Mutex<Option<Lock>>,
}

impl Log {
    /// Refuses to work in a child that was forked from the process that opened the log. The threads
    /// are not there, locks may be held for ever, and the files belong to the parent.
    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        self.process.check()
    }

    /// Checks as [`check_process`](Self::check_process) does, but asks the system at most once a
    /// millisecond.
    pub(crate) fn check_process_at(&self, now: Timestamp) -> Result<(), StoreError> {
        self.process.check_at(now)
    }

    /// Stops all writes after a failed write or sync.
    pub(crate) fn fail(&self, doing: &str, error: &io::Error) {
        let place = self.vfs.describe();
        let reason = format!("{doing} in {place} failed; open the log again to write to it");
        let cause = Cause::new(reason).with_source(copy_of(error));
        tracing::error!(%error, place, "{doing} failed; the log takes no more writes until it is opened again");
        // Under the lock: each frame that began to be written counts as one that may be on the
        // disk.
        let mut staging = self.committer.lock();
        self.poison.fail(staging.lsn - 1, cause);
        let waiters = staging.take_waiters();
        drop(staging);
        waiters.wake(&self.notifier);
    }

    /// Makes both threads end and the log be closed.
    pub(crate) fn stop(&self, limit: CloseLimit) {
        self.close_state.begin(limit);
        self.signals.stop();
    }

    /// Stops all writes for a close, unless one is under way. Returns whether they are stopped.
    pub(crate) fn try_close(&self) -> bool {
        let mut staging = self.committer.lock();
        let is_over = !staging.is_led() && (self.poison.is_set() || !staging.has_work());
        if is_over {
            self.poison.close();
            let waiters = staging.take_waiters();
            drop(staging);
            waiters.wake(&self.notifier);
        }
        is_over
    }

    /// Records the epoch of this opening in the superblock, once a segment of the opening is on the
    /// disk.
    pub(crate) fn record_epoch(&self, block: &mut Superblock) {
        let own = self.catalog.last_segment().filter(|last| self.catalog.is_own(last));
        if own.is_some_and(|last| last.first_lsn <= block.synced) {
            block.epoch = block.epoch.max(self.epoch);
        }
    }
}
