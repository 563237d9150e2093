//! The locations of records in the files of a log.

use std::num::NonZeroU32;

/// The location of an encoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file_ref: FileRef,
    /// The position in the data of the frame.
    pub(crate) position: u32,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

/// The frame that holds a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRef {
    /// The frame of the log with the LSN of the record.
    Log,
    /// The frame at this sector of this checkpoint.
    Checkpoint { number: NonZeroU32, sector: u32 },
}

impl FileRef {
    /// Creates a reference to a frame of a checkpoint. Checkpoints are numbered from 1.
    pub(crate) fn checkpoint(number: u64, sector: u32) -> Self {
        let number = u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Self::Checkpoint { number, sector }
    }
}
