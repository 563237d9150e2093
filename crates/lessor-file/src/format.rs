//! The bytes on the disk: frames of records in segments and checkpoints, and the superblock.

pub(crate) mod checkpoint;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod names;
pub(crate) mod segment;
pub(crate) mod spare;
pub(crate) mod superblock;
pub(crate) mod version;
mod window;
