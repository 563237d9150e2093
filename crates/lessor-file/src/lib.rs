//! The file store of *lessor*: leases that survive `kill -9` and power loss, in one folder, without
//! a server.
//!
//! The records are in an append-only log of segment files, a checkpoint that replaces older
//! segments, and two small files beside them. One process at a time can have the folder open.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lessor_core::Engine;
//! use lessor_file::FileStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("leases");
//! let engine = Engine::new(Arc::new(FileStore::open(&folder)?))?;
//! let outcome = engine.once("invoice:42").run(|_lease| Ok::<_, String>("receipt 1".to_owned()))?;
//! assert_eq!(outcome.into_value(), "receipt 1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Durability
//! With [`SyncMode::Disk`], the default, an acknowledged write survives the death of the process
//! and a power loss, as far as the disk keeps synced data. With [`SyncMode::Process`], it survives
//! the death of the process only.
//!
//! After a crash, the store has every acknowledged write, and possibly some that were not
//! acknowledged, each one completely. Damage is never guessed around: opening a damaged log fails
//! with [`StoreError::Corrupt`](lessor_core::StoreError::Corrupt), which names the file and the
//! offset.
//!
//! # Failures
//! After a failed write or sync, the store accepts no more writes until it is opened again. Writes
//! that were in flight fail with
//! [`StoreError::Indeterminate`](lessor_core::StoreError::Indeterminate).
//!
//! On a full disk, grants fail with [`StoreError::Full`](lessor_core::StoreError::Full), while the
//! holder of every live lease can still store an outcome of up to 256 bytes. The space for that is
//! allocated with the lease: about 1 KiB until the lease ends.
//!
//! # Cost
//! A write is one append to a preallocated file and one `fdatasync`, which concurrent writers
//! share. A record takes about 200 bytes of memory with a key of some twenty characters. In
//! addition, finished records are cached up to [`field@Settings::cache`]; others are read from the
//! disk on demand.
//!
//! Opening reads the whole log once, which takes about 0.7 s for a million records on two virtual
//! cores.
//!
//! # Inspection and salvage
//! The module [`check`] verifies a log, lists its records and truncates a damaged one. The program
//! `lessor` of the crate `lessor-cli` does the same on the command line.

#[cfg(not(unix))]
compile_error!("lessor-file requires Unix: it relies on its file locks, permissions and syncs of folders");

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

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<FileStore>();
    assert_send_sync::<Settings>();
    assert_send_sync::<vfs::Disk>();
};
