//! What reading a log results in, and what it reports meanwhile.

use std::sync::Arc;

use lessor_core::DecodeError;

use crate::format::checkpoint::Checkpoint;
use crate::format::entry::Entry;
use crate::format::frame::Frame;
use crate::format::segment::Segment;
use crate::format::superblock;
use crate::index::location::Place;

/// How far a reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that there are to read, at most.
    pub total: u64,
}

/// Who is told how far a reading has come.
pub(crate) type OnProgress<'p> = &'p mut dyn FnMut(Progress);

/// What is read, record by record.
pub(crate) trait Sink {
    /// About so many records are to come.
    fn expect(&mut self, records: u64);

    /// The records that follow are in this frame.
    fn begin_frame(&mut self, _file: &str, _offset: u64, _frame: &Frame) {}

    fn take(&mut self, lsn: u64, place: Place, entry: &Entry<'_>) -> Result<(), DecodeError>;
}

/// A log as it lies on the disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) superblock: superblock::Keeper,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The last frame that counts; 0 if there is none yet.
    pub(crate) end: u64,
    /// Frames up to this one are on the disk for certain.
    pub(crate) proven: u64,
    /// The checksum of the proven frame's header.
    pub(crate) proven_checksum: u32,
    /// The frames behind the proven one: they may so far be in the memory of the operating system only.
    pub(crate) tail: Vec<Frame>,
    pub(crate) torn: Option<Torn>,
    /// The latest time that may have been told.
    pub(crate) clock: u64,
    pub(crate) epoch: u32,
    /// Files that do not count.
    pub(crate) leftovers: Vec<String>,
    /// The number of the next segment.
    pub(crate) next_segment: u64,
}

impl Image {
    /// Of a log without a frame.
    pub(crate) fn of(superblock: superblock::Keeper) -> Self {
        let (clock, epoch) = (superblock.block().clock, superblock.block().epoch);
        Self {
            superblock,
            checkpoint: None,
            segments: Vec::new(),
            end: 0,
            proven: 0,
            proven_checksum: 0,
            tail: Vec::new(),
            torn: None,
            clock,
            epoch,
            leftovers: Vec::new(),
            next_segment: 1,
        }
    }
}

/// Where a frame begins that was not written whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}
