//! The disk interface of *lessor*'s file store: one folder of flat files.
//!
//! The store accesses the disk through these two traits only, so that a simulated disk can lose,
//! tear, fail and fill up where a real one would.
//!
//! # Assumptions about the disk
//! The store relies on these properties, and an implementation must have them.
//!
//! - Writes to a file before a successful [`File::sync`] survive a power loss. So do operations on
//!   the folder before a successful [`Vfs::sync_folder`].
//! - Of unsynced writes, any 512-byte sector may survive or not. Sectors are written front to back:
//!   a sector that was being written begins with new bytes and ends with old ones.
//! - Unsynced operations on the folder survive independently of each other. A file that was never
//!   synced may have any length up to the one it had.
//! - A new folder survives a power loss once [`Vfs::publish`] was successful.
//! - After a failed sync, nothing is known about the writes since the last successful one, even if
//!   they can be read.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A folder of files.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that only its owner can read and write. Fails if the name exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing. Fails for a symbolic link, and for a folder
    /// with [`ErrorKind::IsADirectory`](io::ErrorKind::IsADirectory).
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Removes a file. Open handles of it stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, and replaces the file that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Returns the names of all files and folders in the folder, in no order. Names that are not
    /// UTF-8 are left out.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Calls `each` with the name of every file and folder in the folder, in no order. Names of
    /// folders end with `/`. In names that are not UTF-8, invalid bytes are replaced. The default
    /// implementation passes what [`list`](Self::list) returns.
    fn for_each_entry(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.list()?.iter().for_each(|name| each(name));
        Ok(())
    }

    /// Makes all operations on the folder survive a power loss: files created, renamed and removed.
    fn sync_folder(&self) -> io::Result<()>;

    /// Gives a new folder its name, and makes the folder survive a power loss. The folder and those
    /// above it may have been created a moment ago, or by a process that was killed before it
    /// synced them.
    fn publish(&self) -> io::Result<()>;

    /// Locks the folder until the returned guard is dropped. Returns `None` if it is locked
    /// already.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>>;

    /// Returns the id of the process that has the lock, if it is known.
    fn lock_holder(&self, name: &str) -> Option<u32>;

    /// Returns the location of the folder, for messages.
    fn describe(&self) -> String;
}

/// A lock on a folder. Dropping it releases the folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "kept to be dropped")] Box<dyn fmt::Debug + Send + Sync>);

impl Lock {
    /// Wraps a guard that releases the folder when it is dropped.
    #[must_use]
    pub fn new(guard: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "the store never needs to know whether a file is empty")]
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Reads from `offset` into `buffer`. Returns the number of bytes read, which may be less than
    /// requested, and 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes `bytes` at `offset`, and extends the file if necessary. Returns the number of bytes
    /// written, which may be less than requested.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes all writes, and the length of the file, survive a power loss.
    fn sync(&self) -> io::Result<()>;

    /// Truncates the file to `length` bytes. The store does not rely on the durability of this.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Returns the length of the file in bytes.
    fn len(&self) -> io::Result<u64>;
}

impl dyn File {
    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until `buffer` is full or the file ends. Returns the number of bytes read.
    pub fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}
