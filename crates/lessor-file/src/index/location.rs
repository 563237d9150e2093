//! Where records are in the files of a log.

use std::num::NonZeroU32;

/// Where the encoded record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) home: Home,
    /// Data bytes from the frame's begin.
    pub(crate) position: u32,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

/// The frame that a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The log's frame with the record's LSN.
    Log,
    /// The frame of this checkpoint that begins at this sector.
    Checkpoint { number: NonZeroU32, sector: u32 },
}

impl Home {
    /// Checkpoints are numbered from 1.
    pub(crate) fn checkpoint(number: u64, sector: u32) -> Self {
        let number = u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Self::Checkpoint { number, sector }
    }
}
