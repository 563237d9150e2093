//! Reading a log from the disk without changing it: which files count, where the log ends, and
//! whether a crash can have left it like this.
//!
//! Only the last segment can end in an incomplete frame. A torn tail, which was never acknowledged,
//! is distinguished there from damage to acknowledged writes. It is damage if
//!
//! - the superblock or any frame, even a later one, states that the missing frame had been synced,
//!   or
//! - all sectors of the frame have their marks, so that it had been written completely.

mod checkpoint;
mod files;
mod read;
mod reading;
mod segments;
mod types;

pub(crate) use checkpoint::read_checkpoint;
pub(crate) use read::read;
pub use types::Progress;
pub(crate) use types::{Image, OnProgress, RecordSink};
