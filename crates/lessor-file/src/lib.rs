//! The file store of *lessor*: leases that survive `kill -9` and power loss, in one folder, without a server.
//!
//! All records are in one folder: an append-only log in segment files, a checkpoint that stands for the segments that
//! were dropped, and two small files beside them. One process at a time has it open.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("leases");
//! use std::sync::Arc;
//! use lessor_core::Engine;
//! use lessor_file::FileStore;
//!
//! let engine = Engine::new(Arc::new(FileStore::open(&folder)?))?;
//! let outcome = engine.once("invoice:42").run(|_lease| Ok::<_, String>("receipt 1".to_owned()))?;
//! assert_eq!(outcome.into_value(), "receipt 1");
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! With [`SyncMode::Disk`], the default, an answer means that the write is on the disk: it survives the death of the process and
//! a power loss, as far as the disk keeps what it says it has synced. With [`SyncMode::Process`] it is with the
//! operating system, and survives the death of the process only.
//!
//! After a crash, what is read is every acknowledged write and possibly some that were not, each whole or not at all. What was
//! damaged is not guessed at: opening refuses it with the file and the place ([`StoreError::Corrupt`]).
//!
//! After a failed write or sync the log takes no more writes until it is opened anew; what was in flight is
//! [`StoreError::Indeterminate`]. On a full disk, grants are refused with [`StoreError::Full`], while every live lease has
//! room for an outcome of up to 256 bytes. That room is allocated: a live lease takes about 1 KiB on the disk until it ends.
//!
//! # Cost
//! A write is one append to a preallocated file and one `fdatasync`, which all share who write at the same time. In memory
//! a record takes about 200 bytes, with a key of some twenty characters, wherever its bytes are; in addition, as many of the
//! finished records are kept as [`Settings::cache`] allows. The others are read back from the log when they are asked for.
//!
//! Opening reads the whole log once, and takes about 0.7 s for a million records on two virtual cores.

#[cfg(not(unix))]
compile_error!(
    "lessor-file needs a Unix: it relies on file locks, permissions and syncs of folders as they are there"
);

pub mod check;
mod closing;
mod commit;
mod compaction;
mod disk;
mod due;
mod entry;
mod folder;
mod frame;
mod image;
mod index;
mod live;
mod log;
mod problem;
mod process;
mod reader;
mod recovery;
mod segment;
mod settings;
mod store;
mod superblock;
mod threads;
mod time;
mod waiters;
mod window;

/// The disk that a store is on: one folder of files.
pub mod vfs {
    pub use lessor_vfs::{File, Lock, Vfs};

    pub use crate::disk::Disk;
}

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lessor_core::{Clock, Error, StoreError};
use parking_lot::Mutex;

pub use image::Progress;
pub use settings::{Settings, SyncMode};

use crate::closing::Bound;
use crate::log::Log;
use crate::problem::Problem;
use crate::time::Source;
use lessor_vfs::{Lock, Vfs};

/// Records in an append-only log, in one folder.
///
/// Dropping it closes the log as well, but compacts only what takes no time to speak of.
pub struct FileStore {
    log: Arc<Log>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl FileStore {
    /// Returns a builder, which opens a store with other settings than the default ones.
    #[must_use]
    pub fn builder<'b>() -> Builder<'b> {
        Builder::default()
    }

    /// Opens the log in a folder, and makes both if they are not there. The folder's parent has to exist. A log is only made in a
    /// folder that is empty, or in which the creation of one was interrupted; beside a log that is there, other files do not matter.
    ///
    /// Fails with [`StoreError::Unavailable`] if another process has it open, with [`StoreError::Misconfigured`] if the path is no
    /// folder that a log can be in, or a permission is missing, with [`StoreError::Corrupt`] if what is
    /// there is damaged, and with [`StoreError::Incompatible`] if a newer library wrote it. A failed opening leaves everything
    /// as it was.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(folder)
    }

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
        Ok(compaction::backup(&self.log, vfs)?)
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
        self.end(Bound::All);
        Ok(self.log.ending.outcome().map_or(Ok(()), |outcome| outcome.map(drop))?)
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

    fn end(&self, bound: Bound) {
        threads::stop(&self.log, bound);
        let Some(writer) = self.writer.lock().take() else { return };
        // A waker that the log's own thread wakes may drop the last handle on the store there.
        let here = thread::current().id();
        let keeper = self.log.threads.keeper.get().map(thread::Thread::id);
        if writer.thread().id() != here && keeper != Some(here) {
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
        self.end(Bound::Little);
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

/// Opens a [`FileStore`]. Made by [`FileStore::builder`].
#[derive(Default)]
pub struct Builder<'o> {
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
    on_progress: Option<Box<dyn FnMut(Progress) + 'o>>,
}

impl<'o> Builder<'o> {
    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// On a clock of the caller's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Tells how far reading the log has come, frame by frame.
    #[must_use]
    pub fn on_progress(self, on_progress: impl FnMut(Progress) + 'o) -> Self {
        Self { on_progress: Some(Box::new(on_progress)), ..self }
    }

    /// Opens the log in a folder. See [`FileStore::open`].
    pub fn open(self, folder: impl AsRef<Path>) -> Result<FileStore, Error> {
        self.open_on(Arc::new(folder::open(folder.as_ref())?))
    }

    /// Opens the log on a disk of the caller's.
    pub fn open_on(mut self, vfs: Arc<dyn Vfs>) -> Result<FileStore, Error> {
        self.settings.validate()?;
        folder::check_own(&*vfs)?;
        let lock = lock(&*vfs, self.settings.lock_wait)?;
        let source = self.clock.map_or(Source::System, Source::Given);
        let mut nobody = |_: Progress| {};
        let on_progress: &mut dyn FnMut(Progress) = match &mut self.on_progress {
            Some(on_progress) => on_progress,
            None => &mut nobody,
        };
        let (log, writer) = recovery::open(vfs, self.settings, source, lock, on_progress)?;
        Ok(FileStore { log, writer: Mutex::new(Some(writer)) })
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Takes the folder, and waits a while for whoever has it.
#[expect(clippy::disallowed_methods, reason = "waits for another process, which nothing tells of")]
fn lock(vfs: &dyn Vfs, patience: Duration) -> Result<Lock, StoreError> {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let name = recovery::LOCK;
        match vfs.try_lock(name).map_err(|error| Problem::io(vfs, name, "locking", error))? {
            Some(lock) => return Ok(lock),
            None if waited >= patience => {
                return Err(Problem::Locked { place: vfs.place(), holder: vfs.lock_holder(name) }.into());
            }
            None => thread::sleep(LOOK_EVERY),
        }
        waited += LOOK_EVERY;
    }
}
