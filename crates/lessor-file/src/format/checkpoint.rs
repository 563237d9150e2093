//! Checkpoints: files with every record as it was at some moment, which take the place of segments.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use crate::format::frame::{FrameBuilder, Header, Kind, LogId};
use crate::format::segment::{FIRST_FRAME, SegmentHeader};

/// About so many bytes make one frame of a checkpoint.
const FRAME: u64 = 128 << 10;
/// So much is written between two syncs, so that no commit has to wait behind a long one.
const SYNC_EVERY: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) length: u64,
}

/// What a checkpoint begins with.
pub(crate) struct Begin {
    pub(crate) number: u64,
    pub(crate) epoch: u32,
    /// Of the first frame that the checkpoint does not stand for.
    pub(crate) first_lsn: u64,
    pub(crate) clock: u64,
}

/// A checkpoint that is on the disk for certain, its name included. The superblock names no other.
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

/// A checkpoint that is being written.
pub(crate) struct Out<'o> {
    file: &'o dyn File,
    id: &'o LogId,
    number: u64,
    epoch: u32,
    clock: u64,
    frame: FrameBuilder,
    /// Of the frame in the checkpoint, from 1.
    order: u64,
    at: u64,
    unsynced: u64,
    count: u64,
}

impl<'o> Out<'o> {
    /// In a file that was just made.
    pub(crate) fn begin(file: &'o dyn File, id: &'o LogId, begin: Begin) -> io::Result<Self> {
        let Begin { number, epoch, first_lsn, clock } = begin;
        let header = SegmentHeader { number, epoch, first_lsn, former: 0, length: 0 };
        file.write_all_at(&header.encode(id), 0)?;
        let (frame, at) = (FrameBuilder::default(), FIRST_FRAME);
        Ok(Self { file, id, number, epoch, clock, frame, order: 1, at, unsynced: 0, count: 0 })
    }

    pub(crate) fn put(&mut self, entry: &[u8]) -> io::Result<()> {
        if self.frame.size_with(entry.len()) > FRAME && !self.frame.is_empty() {
            self.flush(Kind::Kept)?;
        }
        self.frame.push(entry);
        self.count += 1;
        Ok(())
    }

    /// Ends the checkpoint, and syncs it and the folder that it is in.
    pub(crate) fn finish(mut self, vfs: &dyn Vfs) -> io::Result<SyncedCheckpoint> {
        self.flush(Kind::Kept)?;
        self.frame.push(&self.count.to_le_bytes());
        self.flush(Kind::End)?;
        self.file.sync()?;
        vfs.sync_folder()?;
        Ok(SyncedCheckpoint { number: self.number, length: self.at })
    }

    fn flush(&mut self, kind: Kind) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let header = Header { kind, epoch: self.epoch, lsn: self.order, durable_upto: 0, clock: self.clock };
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
