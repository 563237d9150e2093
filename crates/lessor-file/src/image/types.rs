//! The result of reading a log, and its consumers.

use std::sync::Arc;

use lessor_core::DecodeError;

use crate::format::checkpoint::Checkpoint;
use crate::format::entry::Entry;
use crate::format::frame::Frame;
use crate::format::segment::Segment;
use crate::format::superblock;
use crate::index::location::Location;

/// The progress of reading a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of bytes read.
    pub done: u64,
    /// An upper bound of the number of bytes to read.
    pub total: u64,
}

/// A callback that receives the progress of a reading.
pub(crate) type OnProgress<'p> = &'p mut dyn FnMut(Progress);

/// A consumer of the records of a log.
pub(crate) trait RecordSink {
    /// Announces the approximate number of records to come.
    fn reserve(&mut self, records: u64);

    /// Announces the frame of the records that follow.
    fn enter_frame(&mut self, _file: &str, _offset: u64, _frame: &Frame) {}

    fn record(&mut self, lsn: u64, location: Location, entry: &Entry<'_>) -> Result<(), DecodeError>;
}

/// A log as it is on the disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) superblock: superblock::SuperblockFile,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The LSN of the last frame that counts; 0 if there is none.
    pub(crate) end: u64,
    /// FrameReader up to this LSN are certainly on the disk.
    pub(crate) proven: u64,
    /// The checksum of the header of frame `proven`.
    pub(crate) proven_checksum: u32,
    /// The frames after the proven one. They may be in the memory of the operating system only.
    pub(crate) unproven: Vec<Frame>,
    pub(crate) torn: Option<Torn>,
    /// The latest time that may have been returned, in µs.
    pub(crate) clock: u64,
    pub(crate) epoch: u32,
    /// Files that do not count.
    pub(crate) stale_files: Vec<String>,
    /// The number of the next segment.
    pub(crate) next_segment: u64,
}

impl Image {
    /// Returns the image of a log without frames.
    pub(crate) fn of(superblock: superblock::SuperblockFile) -> Self {
        let (clock, epoch) = (superblock.block().clock, superblock.block().epoch);
        Self {
            superblock,
            checkpoint: None,
            segments: Vec::new(),
            end: 0,
            proven: 0,
            proven_checksum: 0,
            unproven: Vec::new(),
            torn: None,
            clock,
            epoch,
            stale_files: Vec::new(),
            next_segment: 1,
        }
    }
}

/// The position of a frame that was not written completely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}
