//! Opening a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lessor_core::{Clock, Error};
use lessor_vfs::Vfs;
use parking_lot::Mutex;

use crate::folder;
use crate::image::Progress;
use crate::log::clock::ClockSource;
use crate::recovery;
use crate::settings::Settings;
use crate::store::handle::FileStore;

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
        let lock = folder::lock(&*vfs, self.settings.lock_wait)?;
        let source = self.clock.map_or(ClockSource::System, ClockSource::Custom);
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
