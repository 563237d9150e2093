//! The files of an open log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lessor_vfs::File;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::checkpoint::Checkpoint;
use crate::format::frame::SECTOR;
use crate::format::names::checkpoint_name;
use crate::format::segment::Segment;
use crate::index::location::FileRef;

/// The files that records are read back from.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Sorted by number. FrameReader are written to the last one.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The checkpoint that the superblock names, and for a moment also its successor.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

/// The files of an open log, and what is known about them.
#[derive(Debug)]
pub(crate) struct Catalog {
    files: RwLock<Files>,
    /// The number of the first segment of this opening.
    first_own: u64,
    /// The log was opened with so many segments that a compaction is due.
    is_crowded: AtomicBool,
    /// The number of failed syncs of the folder. The names of new files may be lost after one.
    failed_folder_syncs: AtomicU64,
}

/// A frame in an open file.
pub(crate) struct FrameAt {
    pub(crate) file: Arc<dyn File>,
    /// The position of the frame.
    pub(crate) offset: u64,
    /// The name of the file, for messages.
    pub(crate) name: String,
}

impl Catalog {
    pub(crate) fn new(files: Files, first_own: u64, is_crowded: bool) -> Self {
        Self {
            files: RwLock::new(files),
            first_own,
            is_crowded: AtomicBool::new(is_crowded),
            failed_folder_syncs: AtomicU64::new(0),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Files> {
        self.files.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Files> {
        self.files.write()
    }

    pub(crate) fn last_segment(&self) -> Option<Arc<Segment>> {
        self.files.read().segments.last().cloned()
    }

    /// Returns whether this opening made the segment.
    pub(crate) fn is_own(&self, segment: &Segment) -> bool {
        segment.number >= self.first_own
    }

    /// Returns whether the log was opened with too many segments, and forgets it.
    pub(crate) fn take_crowded(&self) -> bool {
        self.is_crowded.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn failed_folder_syncs(&self) -> u64 {
        self.failed_folder_syncs.load(Ordering::SeqCst)
    }

    pub(crate) fn count_failed_folder_sync(&self) {
        self.failed_folder_syncs.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the total length of the checkpoints in bytes.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        self.files.read().checkpoints.iter().map(|checkpoint| checkpoint.length).sum()
    }

    /// Finds the frame that holds a record with this LSN. Returns `None` if the record was moved to
    /// another file meanwhile.
    pub(crate) fn find(&self, file_ref: FileRef, lsn: u64) -> Option<FrameAt> {
        let files = self.files.read();
        match file_ref {
            FileRef::Log => files.segments.iter().rev().find_map(|segment| {
                let offset = segment.offset_of(lsn)?;
                Some(FrameAt { file: Arc::clone(&segment.file), offset, name: segment.name() })
            }),
            FileRef::Checkpoint { number, sector } => {
                let number = u64::from(number.get());
                let found = files.checkpoints.iter().find(|checkpoint| checkpoint.number == number)?;
                Some(FrameAt {
                    file: Arc::clone(&found.file),
                    offset: u64::from(sector) * SECTOR,
                    name: checkpoint_name(number),
                })
            }
        }
    }
}
