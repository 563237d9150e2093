//! The disk as the log sees it: one folder of flat files. Everything the log reads or writes goes through these two
//! traits, so that a simulated disk can lose, tear, fail and fill up where a real one would.
//!
//! # What is assumed of a disk
//! - What was written before a successful [`File::sync`] is there after a power loss, and so is what was done to the
//!   folder before a successful [`Vfs::sync_folder`].
//! - Of what was written since, any 512-byte sector may be there or not. One that was being written when the power failed
//!   begins as the new one and ends as the old one: sectors are written front to back.
//! - Of what was done to the folder since, each operation may have happened or not; a file that was never synced may
//!   have any length up to the one it had.
//! - A folder that was made is there after a power loss once [`Vfs::settle`] was successful.
//! - After a failed sync nothing is known of what was written since the last good one, even if reading shows it.

use std::fmt;
use std::io;
use std::sync::Arc;

/// One folder.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Makes a file that must not exist yet, which only the owner can read and write.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists, to read and to write. A symbolic link is refused; a folder is too, with
    /// [`ErrorKind::IsADirectory`](io::ErrorKind::IsADirectory).
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Removes a file. Handles that are open stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what has that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// The names of all files and folders in it, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Shows `each` the name of everything in the folder, in no order: of folders too, with a `/` behind the name, and of files that
    /// [`list`](Self::list) leaves out because their names are not UTF-8, with the odd bytes replaced. The default shows what
    /// `list` returns.
    fn each_entry(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.list()?.iter().for_each(|name| each(name));
        Ok(())
    }

    /// Makes everything that was done to the folder itself (files made, renamed, removed) survive a power loss.
    fn sync_folder(&self) -> io::Result<()>;

    /// Puts the folder in its place, and makes it survive a power loss that it is there: it, and the folders above it, may have been made
    /// a moment ago, also by a process that was killed before it synced them.
    fn settle(&self) -> io::Result<()>;

    /// Takes the folder for this opener alone, until the returned guard is dropped. `None` if somebody else has it.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>>;

    /// The process that has the folder, as far as it can be told.
    fn lock_holder(&self, name: &str) -> Option<u32>;

    /// Where the folder is, for messages.
    fn place(&self) -> String;
}

/// The folder is taken as long as this exists.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "kept to be dropped")] Box<dyn fmt::Debug + Send + Sync>);

impl Lock {
    /// Whatever gives the folder back when it is dropped.
    #[must_use]
    pub fn new(guard: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Reads what is at `offset` into `buffer` and says how much that was; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes `bytes` at `offset`, growing the file if need be, and says how many were written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes what was written, and the file's length, survive a power loss.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length`. Whether that is durable does not matter to the log.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// The file's length in bytes.
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

    /// Reads until `buffer` is full or the file ends, and says how much was read.
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
