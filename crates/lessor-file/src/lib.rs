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
mod close;
mod commit;
mod disk;
mod folder;
mod format;
mod image;
mod index;
mod log;
mod maintenance;
mod problem;
mod process;
mod quarantine;
mod recovery;
mod settings;
mod store;
mod writer;

pub use image::Progress;
pub use settings::{Settings, SyncMode};
pub use store::{Builder, FileStore};

/// The disk that a store is on: one folder of files.
pub mod vfs {
    pub use lessor_vfs::{File, Lock, Vfs};

    pub use crate::disk::Disk;
}
