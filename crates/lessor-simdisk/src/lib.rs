//! A disk in memory that does what a real one may do at worst: it loses, tears and reorders what was not synced, fails
//! and fills up on demand.
//!
//! - [`SimDisk`] is the disk; its clones are the same disk. [`SimDisk::fork`] is the disk of a machine that lives on while
//!   the process is killed; [`SimDisk::crash`] says what a power loss could leave at this moment.
//! - [`SimDisk::fail`], [`SimDisk::power_off_at`], [`SimDisk::set_capacity`] and [`SimDisk::on_call`] have a chosen call
//!   fail, stop everything from then on, run out of room, or wait.
//!
//! ```
//! use lessor_vfs::Vfs;
//! use lessor_simdisk::SimDisk;
//!
//! let disk = SimDisk::new();
//! let file = disk.create("a")?;
//! disk.sync_folder()?;
//! file.write_at(b"synced", 0)?;
//! file.sync()?;
//! file.write_at(b"gone??", 0)?;
//!
//! let mut seen: Vec<_> = disk.crash().images_exhaustive(10).unwrap().map(|image| image.bytes("a")).collect();
//! seen.sort();
//! assert_eq!(seen, [b"gone??", b"synced"]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it follows the model
//! - Sectors, lengths and operations on the folder are lost or kept independently of each other. A sector that was
//!   written several times may be any of what it was.
//! - A sync covers what was done before it began, not what came while it was held up.
//! - A folder that is new is lost as a whole or not at all. A failed attempt to make it durable can be made again.
//! - Syncing a file says nothing about its name. A name whose making was lost takes the file with it, and a rename of it
//!   cannot have happened.
//! - What of a grown file was never written is zero, whatever became of its length.

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
