//! The fence in a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::Key;
use lessor_file::vfs::Disk;
use lessor_vfs::Vfs;
use parking_lot::Mutex;

use crate::file::error::FenceError;
use crate::file::log::Log;
use crate::turns::Turns;

/// A fence in a folder of its own. It survives `kill -9` and power loss, and one process at a time
/// can open it.
///
/// The first effect of a grant waits until its token is on the disk. All further effects with the
/// same token write nothing. All calls block the thread; async code calls them from a thread for
/// blocking work.
///
/// The folder has the file `fence.log` with a line of text for each token, which begins with a
/// checksum. The file is replaced by a shorter one when it has grown. All keys are kept in memory
/// as well.
///
/// A write that fails ends the fence: all later calls return [`FenceError::Broken`] until it is
/// dropped and opened again.
///
/// ```
/// use lessor_fence::{FenceError, FileFence};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("fence");
/// let fence = FileFence::open(&folder)?;
/// fence.run("report", 8_u64, || println!("bob writes"))?;
/// drop(fence);
///
/// // The next process remembers.
/// let fence = FileFence::open(&folder)?;
/// let refused = fence.run("report", 7_u64, || println!("alice writes"));
/// assert!(matches!(refused, Err(FenceError::Stale(stale)) if stale.highest == 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileFence {
    turns: Turns,
    log: Mutex<Log>,
}

impl FileFence {
    /// Opens the fence in a folder. Creates both if they do not exist; the parent of the folder
    /// must exist. Reads the file, and writes it anew.
    ///
    /// A line whose write was interrupted by a crash is ignored, because its token was not
    /// accepted.
    ///
    /// Three kinds of damage look like such a line, and are not detected: a truncated file, a
    /// last line whose end was replaced by zeros, and a removed file.
    ///
    /// # Errors
    ///
    /// - [`FenceError::InUse`] if another process has the fence open.
    /// - [`FenceError::Foreign`] if the folder has other files and no fence.
    /// - [`FenceError::Damaged`] if the file is damaged.
    /// - [`FenceError::Incompatible`] if a newer release wrote the file.
    /// - [`FenceError::Io`] if the operating system reports an error.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, FenceError> {
        let folder = folder.as_ref();
        let disk = Disk::open(folder).map_err(|source| FenceError::Io {
            doing: "opening",
            path: folder.display().to_string(),
            source,
        })?;
        Self::open_on(Arc::new(disk))
    }

    /// Opens the fence on a custom disk, such as a simulated one.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open).
    pub fn open_on(vfs: Arc<dyn Vfs>) -> Result<Self, FenceError> {
        Ok(Self { turns: Turns::default(), log: Mutex::new(Log::open(vfs)?) })
    }

    /// Runs `effect` if the token is the highest of the key so far, or equal to it.
    ///
    /// No other effect of the key runs meanwhile, and none with a lower token runs later, also after
    /// a crash. Effects of other keys are delayed by writes to the disk only. The token counts from
    /// before the effect on, whether the effect succeeds, fails or panics.
    ///
    /// The effect must not use this fence for the same key again, because it would wait for itself.
    ///
    /// # Errors
    ///
    /// - [`FenceError::Stale`] if the fence has seen a higher token.
    /// - [`FenceError::Key`] if the key is not a valid one.
    /// - [`FenceError::Io`] and [`FenceError::Broken`] if the token could not be written.
    ///
    /// The effect does not run if an error is returned.
    pub fn run<T>(
        &self,
        key: &str,
        token: impl Into<u64>,
        effect: impl FnOnce() -> T,
    ) -> Result<T, FenceError> {
        Key::check(key)?;
        let token = token.into();
        self.turns.take(key, || {
            self.log.lock().admit(key, token)?;
            Ok(effect())
        })
    }

    /// Checks the token and remembers it, like [`run`](Self::run) with no effect. Waits for a
    /// running effect of the key.
    ///
    /// The answer is outdated as soon as a newer holder comes, so an effect that follows it is not
    /// protected. Prefer [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run).
    pub fn check(&self, key: &str, token: impl Into<u64>) -> Result<(), FenceError> {
        self.run(key, token, || ())
    }

    /// Forgets the keys whose highest token is below `floor`, on the disk as well. Returns their
    /// number. See [`MemoryFence::forget_below`](crate::MemoryFence::forget_below) for the choice
    /// of the floor.
    ///
    /// # Errors
    ///
    /// [`FenceError::Io`] and [`FenceError::Broken`] if the file could not be replaced.
    pub fn forget_below(&self, floor: impl Into<u64>) -> Result<usize, FenceError> {
        self.log.lock().forget_below(floor.into())
    }

    /// Forgets the keys whose highest token is older than `age`, counted back from the newest token
    /// of all keys. Returns their number. No clock is read.
    ///
    /// # Errors
    ///
    /// The errors of [`forget_below`](Self::forget_below).
    pub fn forget_older_than(&self, age: Duration) -> Result<usize, FenceError> {
        let mut log = self.log.lock();
        let floor = log.table().floor_of(age);
        log.forget_below(floor)
    }

    /// Returns the highest token of the key, or `None` if the key is not known.
    #[must_use]
    pub fn highest(&self, key: &str) -> Option<u64> {
        self.log.lock().table().get(key)
    }

    /// Returns the number of keys that the fence remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.lock().table().len()
    }

    /// Returns whether the fence remembers no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
