//! The fence in a file.
//!
//! ```text
//! fence.rs    the fence: a turn per key, and the log
//! log.rs      appends lines, and replaces the file by a shorter one
//! reading.rs  reads the file, and tells a torn end from damage
//! line.rs     the form of a line
//! names.rs    the names of the files
//! error.rs    the errors
//! ```

pub(crate) mod error;
pub(crate) mod fence;
mod line;
mod log;
mod names;
mod reading;
