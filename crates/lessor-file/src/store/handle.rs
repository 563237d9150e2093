//! The handle on an open store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use lessor_core::{Cas, Error};
use lessor_vfs::Vfs;
use parking_lot::Mutex;

use crate::folder;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::maintenance::{backup, compaction};
use crate::store::swaps::LogSwaps;

/// A store of records in an append-only log, in one folder.
///
/// Dropping the store closes it, without a compaction that takes noticeable time. Use
/// [`close`](Self::close) to see errors and to compact the log.
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::Engine;
/// use lessor_file::FileStore;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("leases");
/// let store = Arc::new(FileStore::open(&folder)?);
/// let engine = Engine::new(store.clone())?;
/// let outcome = engine.once("invoice:42").run(|_lease| Ok::<_, String>("receipt 1".to_owned()))?;
/// assert_eq!(store.len(), 1);
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileStore {
    pub(crate) log: Arc<Log>,
    pub(super) cas: Cas<LogSwaps>,
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
}

impl FileStore {
    /// Writes a compact copy of the log to a new or empty folder, while the log is in use. Each
    /// record in the copy is as it was at some moment during the call. The copy can be opened like
    /// any log, and the tokens that it issues are higher than all that were issued before.
    ///
    /// Blocks until the copy is durable. An interrupted backup leaves files that are refused when
    /// they are opened.
    ///
    /// # Errors
    /// Fails if the folder is not empty, if it cannot be written to, or if the log cannot be read.
    /// Returns [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable) in a forked child.
    ///
    /// ```
    /// # use lessor_file::FileStore;
    /// # let folder = tempfile::tempdir()?;
    /// let store = FileStore::open(folder.path().join("leases"))?;
    /// store.backup_to(folder.path().join("copy"))?;
    /// let copy = FileStore::open(folder.path().join("copy"))?;
    /// assert_eq!(copy.len(), store.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup_to(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        self.log.check_process()?;
        self.backup_on(&folder::open_new(folder.as_ref())?)
    }

    /// Writes a compact copy of the log to a custom disk.
    ///
    /// # Errors
    /// Returns the errors of [`backup_to`](Self::backup_to).
    pub fn backup_on(&self, vfs: &dyn Vfs) -> Result<(), Error> {
        self.log.check_process()?;
        Ok(backup::backup(&self.log, vfs)?)
    }

    /// Compacts the log now, which reduces its disk use to about the size of the retained records.
    /// The log is also compacted in the background as it grows. Blocks until the compaction is
    /// done.
    ///
    /// # Errors
    /// Fails if the log cannot be read or the checkpoint cannot be written. The log remains usable,
    /// unless the superblock could not be written.
    pub fn compact(&self) -> Result<(), Error> {
        self.log.check_process()?;
        Ok(compaction::request(&self.log)?)
    }

    /// Syncs all writes, compacts the log if it has grown, closes it and releases the folder. Every
    /// later call fails with [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable).
    /// Compacting a log of a million records takes some seconds;
    /// [`Engine::close`](lessor_core::Engine::close) has a deadline.
    ///
    /// # Errors
    /// Fails if the log could not be left clean. No acknowledged write is lost by that: the next
    /// opening recovers the log.
    pub fn close(&self) -> Result<(), Error> {
        self.log.check_process()?;
        self.end(CloseLimit::All);
        Ok(self.log.close_state.outcome().map_or(Ok(()), |outcome| outcome.map(drop))?)
    }

    /// Returns the number of records, including those whose retention has ended but that are not
    /// purged yet. Returns 0 in a forked child.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.log.check_process().is_err() {
            return 0;
        }
        self.log.index.len()
    }

    /// Returns whether the store has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn end(&self, limit: CloseLimit) {
        self.log.stop(limit);
        let Some(writer) = self.writer.lock().take() else { return };
        // A waker that is invoked on one of the log's threads may drop the last handle there.
        let here = thread::current().id();
        if writer.thread().id() != here && !self.log.signals.is_maintenance(here) {
            let _ = writer.join();
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if self.log.check_process().is_err() {
            // All is left as it is, including the locks, which a thread of the parent may have
            // held.
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
        shown.field("folder", &self.log.vfs.describe()).field("sync", &self.log.settings.sync);
        shown.field("records", &self.len());
        shown.finish_non_exhaustive()
    }
}
