//! Opening a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lessor_core::{Cas, Clock, Error};
use lessor_vfs::Vfs;
use parking_lot::Mutex;

use crate::folder;
use crate::image::Progress;
use crate::log::clock::ClockSource;
use crate::recovery;
use crate::settings::Settings;
use crate::store::handle::FileStore;
use crate::store::swaps::LogSwaps;

impl FileStore {
    /// Returns a builder with default settings, for opening a store with other settings, on another
    /// clock or on another disk.
    #[must_use]
    pub fn builder<'b>() -> Builder<'b> {
        Builder::default()
    }

    /// Opens the log in a folder with default settings. Creates the folder and the log if they do
    /// not exist; the parent of the folder must exist.
    ///
    /// A log is created only in a folder that is empty, or in which an earlier creation was
    /// interrupted. Other files beside an existing log are ignored.
    ///
    /// Blocks until the whole log is read.
    ///
    /// # Errors
    /// - [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable): another process has the
    ///   log open, or reading failed.
    /// - [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured): the path cannot be
    ///   a log's folder, or a permission is missing.
    /// - [`StoreError::Full`](lessor_core::StoreError::Full): the disk is full.
    /// - [`StoreError::Corrupt`](lessor_core::StoreError::Corrupt): the log is damaged. The error
    ///   names the file and the offset.
    /// - [`StoreError::Incompatible`](lessor_core::StoreError::Incompatible): a newer version wrote
    ///   the log.
    ///
    /// A failed opening leaves the log as it was.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(folder)
    }
}

/// Opens a [`FileStore`]. Returned by [`FileStore::builder`].
///
/// ```
/// use lessor_file::{FileStore, Settings};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("leases");
/// let store = FileStore::builder()
///     .settings(Settings::new().cache(16 << 20))
///     .on_progress(|progress| println!("{} of {} bytes", progress.done, progress.total))
///     .open(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Builder<'o> {
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
    on_progress: Option<Box<dyn FnMut(Progress) + 'o>>,
}

impl<'o> Builder<'o> {
    /// Sets the settings. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets the clock that the store reads. Default: the system's clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Sets a callback that is called after each frame that is read.
    #[must_use]
    pub fn on_progress(self, on_progress: impl FnMut(Progress) + 'o) -> Self {
        Self { on_progress: Some(Box::new(on_progress)), ..self }
    }

    /// Opens the log in a folder.
    ///
    /// # Errors
    /// Returns the errors of [`FileStore::open`], and [`Error::Invalid`] if a setting is out of
    /// range.
    pub fn open(self, folder: impl AsRef<Path>) -> Result<FileStore, Error> {
        self.open_on(Arc::new(folder::open(folder.as_ref())?))
    }

    /// Opens the log on a custom disk, such as a simulated one.
    ///
    /// # Errors
    /// Returns the errors of [`FileStore::open`], and [`Error::Invalid`] if a setting is out of
    /// range.
    pub fn open_on(mut self, vfs: Arc<dyn Vfs>) -> Result<FileStore, Error> {
        self.settings.validate()?;
        folder::check_own(&*vfs)?;
        let lock = folder::lock(&*vfs, self.settings.lock_wait)?;
        let source = self.clock.map_or(ClockSource::System, ClockSource::Custom);
        let mut ignore = |_: Progress| {};
        let on_progress: &mut dyn FnMut(Progress) = match &mut self.on_progress {
            Some(on_progress) => on_progress,
            None => &mut ignore,
        };
        let (log, writer) = recovery::open(vfs, self.settings, source, lock, on_progress)?;
        let cas = Cas::new(LogSwaps(Arc::clone(&log)));
        Ok(FileStore { log, cas, writer: Mutex::new(Some(writer)) })
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
