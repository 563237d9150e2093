//! Reading a log as it lies on the disk, without changing anything: what there is, where it ends, and whether it can be
//! what a crash left behind.
//!
//! Only the last segment can end in a frame that was not written whole. There the reading has to tell a torn
//! tail, which nobody was ever told of, from damage to something that was acknowledged. It is damage if
//! - the superblock or any frame, also one further on, says that what is missing had been synced, or
//! - all sectors of the frame bear their marks, so that it had been written whole.

mod checkpoint;
mod files;
mod read;
mod reading;
mod segments;
mod types;

pub(crate) use checkpoint::read_checkpoint;
pub(crate) use read::read;
pub use types::Progress;
pub(crate) use types::{Image, OnProgress, Sink};
