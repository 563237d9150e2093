//! The store itself, without the `Store` contract.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use lessor_core::Error;
use lessor_vfs::Vfs;
use parking_lot::Mutex;

use crate::folder;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::maintenance::{backup, compaction};

/// Records in an append-only log, in one folder.
///
/// Dropping it closes the log as well, but compacts only what takes no time to speak of.
pub struct FileStore {
    pub(crate) log: Arc<Log>,
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
}

impl FileStore {
    /// Writes a compact copy of the log to a new folder while the log goes on, with every record as it was at some moment during
    /// the call. The copy can be opened like any log; tokens that it issues are above all that were issued before.
    ///
    /// Blocks until the copy is durable. What an interrupted call leaves is no log, and is refused when it is opened.
    pub fn backup_to(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        self.log.check_process()?;
        self.backup_on(&folder::open_new(folder.as_ref())?)
    }

    /// The same on a disk of the caller's.
    pub fn backup_on(&self, vfs: &dyn Vfs) -> Result<(), Error> {
        self.log.check_process()?;
        Ok(backup::backup(&self.log, vfs)?)
    }

    /// Compacts the log now: disk use falls to about what the retained records take. It happens by itself in the
    /// background as the log grows. Blocks until it is done.
    pub fn compact(&self) -> Result<(), Error> {
        self.log.check_process()?;
        Ok(compaction::request(&self.log)?)
    }

    /// Syncs what is outstanding, compacts the log if it has grown, closes it and releases the folder. Every later call fails with
    /// [`StoreError::Unavailable`]. An error says that the log could not be left clean; the next opening sees to that.
    ///
    /// Compacting a log of a million records takes some seconds. [`Engine::close`](lessor_core::Engine::close) has a deadline.
    pub fn close(&self) -> Result<(), Error> {
        self.log.check_process()?;
        self.end(CloseLimit::All);
        Ok(self.log.close_state.outcome().map_or(Ok(()), |outcome| outcome.map(drop))?)
    }

    /// How many records there are, those included whose retention has ended but that were not purged yet. 0 in a forked child.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.log.check_process().is_err() {
            return 0;
        }
        self.log.index.len()
    }

    /// Whether there is no record at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn end(&self, limit: CloseLimit) {
        self.log.stop(limit);
        let Some(writer) = self.writer.lock().take() else { return };
        // A waker that the log's own thread wakes may drop the last handle on the store there.
        let here = thread::current().id();
        if writer.thread().id() != here && !self.log.signals.is_maintenance(here) {
            let _ = writer.join();
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if self.log.check_process().is_err() {
            // Everything is left as it is, locks included, which a thread of the parent's may have held.
            std::mem::forget(self.writer.get_mut().take());
            std::mem::forget(Arc::clone(&self.log));
            return;
        }
        self.end(CloseLimit::Little);
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FileStore");
        shown.field("folder", &self.log.vfs.place()).field("sync", &self.log.settings.sync);
        shown.field("records", &self.len());
        shown.finish_non_exhaustive()
    }
}
