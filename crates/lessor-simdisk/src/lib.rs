//! A simulated disk in memory for tests of *lessor*'s file store. It behaves like the worst real
//! disk: it loses, tears and reorders unsynced writes, and fails and fills up on demand.
//!
//! - [`SimDisk`] is the disk, and its clones share it. [`SimDisk::fork`] returns the disk as a
//!   killed process leaves it; [`SimDisk::crash`] returns the possible disks after a power loss at
//!   this moment.
//! - [`SimDisk::fail`], [`SimDisk::power_off_at`], [`SimDisk::set_capacity`] and
//!   [`SimDisk::on_call`] inject faults: a call that fails, a power loss, a full disk, a call that
//!   blocks.
//!
//! ```
//! use lessor_simdisk::SimDisk;
//! use lessor_vfs::Vfs;
//!
//! let disk = SimDisk::new();
//! let file = disk.create("a")?;
//! disk.sync_folder()?;
//! file.write_at(b"synced", 0)?;
//! file.sync()?;
//! file.write_at(b"gone??", 0)?;
//!
//! let crash = disk.crash();
//! let images = crash.images_exhaustive(10).unwrap();
//! let mut seen: Vec<_> = images.map(|image| image.bytes("a")).collect();
//! seen.sort();
//! assert_eq!(seen, [b"gone??", b"synced"]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # The model
//! The model follows the assumptions in [`lessor_vfs`]. In detail:
//!
//! - Sectors, lengths and operations on the folder are lost or kept independently of each other. A
//!   sector with several unsynced versions may have any of them.
//! - A sync covers the writes before it began, and not the ones during it.
//! - A new folder is lost as a whole or not at all. A failed attempt to publish it can be repeated.
//! - Syncing a file does not sync its name. If the creation of a name is lost, the file is lost,
//!   and a rename of it cannot have happened.
//! - The parts of an extended file that were never written are zero.

mod choice;
mod content;
mod crash;
mod disk;
mod extents;
mod faults;
mod folder;
mod history;
mod images;
mod inode;
mod operation;
mod state;
#[cfg(test)]
mod tests;
mod tools;

pub use choice::Choice;
pub use crash::{Crash, Unsynced};
pub use disk::SimDisk;
pub use faults::{Call, CallKind, Fault, Hook, When};
pub use history::{Length, Version};
pub use images::{Exhaustive, Torn};
pub use operation::Operation;

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<SimDisk>();
    assert_send_sync::<Crash>();
};
