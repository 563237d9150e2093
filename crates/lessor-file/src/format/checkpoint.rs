//! Checkpoints: files that hold every record as it was at some moment, and replace the segments
//! before that.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use crate::format::frame::{FrameBuilder, FrameHeader, FrameKind, LogId};
use crate::format::segment::{FIRST_FRAME, SegmentHeader};

/// The approximate size of one frame of a checkpoint, in bytes.
const FRAME: u64 = 128 << 10;
/// The number of bytes that are written between two syncs. Commits have to wait behind a sync, so
/// it must not be long.
const SYNC_EVERY: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) length: u64,
}

/// The properties of a new checkpoint.
pub(crate) struct CheckpointStart {
    pub(crate) number: u64,
    pub(crate) epoch: u32,
    /// The LSN of the first frame that the checkpoint does not replace.
    pub(crate) first_lsn: u64,
    pub(crate) clock: u64,
}

/// Proof that a checkpoint and its name are on the disk. The superblock names only such
/// checkpoints.
#[derive(Debug)]
pub(crate) struct SyncedCheckpoint {
    number: u64,
    length: u64,
}

impl SyncedCheckpoint {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

/// Writes a checkpoint.
pub(crate) struct CheckpointWriter<'o> {
    file: &'o dyn File,
    id: &'o LogId,
    number: u64,
    epoch: u32,
    clock: u64,
    frame: FrameBuilder,
    /// The number of the frame in the checkpoint, from 1.
    order: u64,
    at: u64,
    unsynced: u64,
    count: u64,
}

impl<'o> CheckpointWriter<'o> {
    /// Begins a checkpoint in a new, empty file.
    pub(crate) fn begin(file: &'o dyn File, id: &'o LogId, begin: CheckpointStart) -> io::Result<Self> {
        let CheckpointStart { number, epoch, first_lsn, clock } = begin;
        let header = SegmentHeader { number, epoch, first_lsn, previous_checksum: 0, length: 0 };
        file.write_all_at(&header.encode(id), 0)?;
        let (frame, at) = (FrameBuilder::default(), FIRST_FRAME);
        Ok(Self { file, id, number, epoch, clock, frame, order: 1, at, unsynced: 0, count: 0 })
    }

    pub(crate) fn put(&mut self, entry: &[u8]) -> io::Result<()> {
        if self.frame.size_with(entry.len()) > FRAME && !self.frame.is_empty() {
            self.flush(FrameKind::Checkpoint)?;
        }
        self.frame.push(entry);
        self.count += 1;
        Ok(())
    }

    /// CheckpointSummary the checkpoint, and syncs its file and the folder.
    pub(crate) fn finish(mut self, vfs: &dyn Vfs) -> io::Result<SyncedCheckpoint> {
        self.flush(FrameKind::Checkpoint)?;
        self.frame.push(&self.count.to_le_bytes());
        self.flush(FrameKind::CheckpointEnd)?;
        self.file.sync()?;
        vfs.sync_folder()?;
        Ok(SyncedCheckpoint { number: self.number, length: self.at })
    }

    fn flush(&mut self, kind: FrameKind) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let header =
            FrameHeader { kind, epoch: self.epoch, lsn: self.order, durable_upto: 0, clock: self.clock };
        let bytes = self.frame.seal(self.id, header);
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        self.order += 1;
        self.frame.reset();
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.file.sync()?;
        }
        Ok(())
    }
}
