//! Segments that are made ahead: files of zeros without a header.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use crate::format::frame::SECTOR;
use crate::format::names::{self, segment_name};
use crate::problem::Problem;

/// A segment that consists of zeros, durably, and has no header yet.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn File>,
}

impl Spare {
    /// Creates the file and fills it with zeros, so that no later write extends it.
    pub(crate) fn create(vfs: &dyn Vfs, number: u64, length: u64) -> Result<Self, Problem> {
        let name = segment_name(number);
        let made = Self::fill(vfs, &name, length);
        if made.is_err() {
            // The file takes space, and its name is needed for the next attempt. If it cannot be
            // removed now, the next opening removes it.
            let _ = vfs.remove(&name);
        }
        Ok(Self { number, length, file: made? })
    }

    fn fill(vfs: &dyn Vfs, name: &str, length: u64) -> Result<Arc<dyn File>, Problem> {
        let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
        let file = vfs.create(name).map_err(failed("making"))?;
        // Synced in small steps, because commits have to wait behind a sync.
        const SYNC_EVERY: u64 = 1 << 20;
        for at in (0..length).step_by(usize::try_from(SYNC_EVERY).unwrap_or(usize::MAX)) {
            file.sync().map_err(failed("syncing"))?;
            zero_unsynced(&*file, at, length.min(at + SYNC_EVERY)).map_err(failed("writing"))?;
        }
        file.sync().map_err(failed("syncing"))?;
        vfs.sync_folder().map_err(|error| Problem::unnamed(vfs, error))?;
        Ok(file)
    }
}

/// Writes zeros to a part of a file, without a sync.
fn zero_unsynced(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    // Written in small chunks: large writes are cached in large folios, and on Linux each later
    // small write has to check all blocks of the folio.
    const CHUNK: u64 = 16 << 10;
    let zeros = vec![0; usize::try_from(CHUNK.min(to - from)).unwrap_or(0)];
    let mut at = from;
    while at < to {
        let count = usize::try_from(CHUNK.min(to - at)).unwrap_or(0);
        file.write_all_at(zeros.get(..count).unwrap_or_default(), at)?;
        at += count as u64;
    }
    Ok(())
}

/// The error of extending a spare segment.
#[derive(Debug)]
pub(crate) enum ExtendError {
    /// The segment is unchanged.
    Kept(Spare, io::Error),
    /// A sync failed, and the state of the file is unknown.
    Lost(io::Error),
}

impl Spare {
    /// Extends the segment to `length`, durably.
    pub(crate) fn extend(self, length: u64) -> Result<Self, ExtendError> {
        let Self { number, length: before, file } = self;
        let mut at = before;
        while at < length {
            // Failed syncs and failed writes are distinguished: after a failed sync the file cannot
            // be used.
            let to = length.min(at + (1 << 20));
            let written = zero_unsynced(&*file, at, to);
            if let Err(error) = written {
                let _ = file.truncate(before);
                return Err(ExtendError::Kept(Self { number, length: before, file }, error));
            }
            file.sync().map_err(ExtendError::Lost)?;
            at = to;
        }
        Ok(Self { number, length, file })
    }

    /// Creates a segment that is as long as the disk has space for, from `least` to `best` bytes.
    pub(crate) fn create_within(vfs: &dyn Vfs, number: u64, best: u64, least: u64) -> Result<Self, Problem> {
        let name = &segment_name(number);
        let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
        let file = vfs.create(name).map_err(failed("making"))?;
        let mut length = best;
        let mut made = zero_unsynced(&*file, 0, best);
        if made.is_err() {
            length = file.len().map_err(failed("reading"))?.min(best) / SECTOR * SECTOR;
            if length >= least {
                made = file.truncate(length);
            }
        }
        let synced = made
            .map_err(failed("writing"))
            .and_then(|()| file.sync().map_err(failed("syncing")))
            .and_then(|()| vfs.sync_folder().map_err(failed("syncing the folder of")));
        match synced {
            Ok(()) => Ok(Self { number, length, file }),
            Err(problem) => {
                let _ = vfs.remove(name);
                Err(problem)
            }
        }
    }

    /// Reuses a segment that an earlier opening made and did not use, or whose frames were never
    /// acknowledged. Overwrites it with zeros, because its content on the disk is unknown. The
    /// segment has `length` bytes, or fewer if the file is shorter. Returns `None` if it would have
    /// less than `least`.
    pub(crate) fn reuse(
        vfs: &dyn Vfs,
        number: u64,
        length: u64,
        least: u64,
    ) -> Result<Option<Self>, Problem> {
        let name = &segment_name(number);
        let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
        let file = vfs.open(name).map_err(failed("opening"))?;
        let length = file.len().map_err(failed("reading"))?.min(length) / SECTOR * SECTOR;
        if length < least + SECTOR {
            return Ok(None);
        }
        // The last sector is written past the end of the truncated file, so that the length is
        // written as well.
        let sure = length - SECTOR;
        file.truncate(sure).map_err(failed("cutting"))?;
        zero_unsynced(&*file, 0, sure).map_err(failed("writing"))?;
        let is_longer = zero_unsynced(&*file, sure, length).is_ok();
        if !is_longer {
            file.truncate(sure).map_err(failed("cutting"))?;
        }
        file.sync().map_err(failed("syncing"))?;
        // The renames make the name durable, which may not be on the disk either.
        for (from, to) in [(name.as_str(), names::SUPERBLOCK_NEW), (names::SUPERBLOCK_NEW, name)] {
            vfs.rename(from, to).map_err(failed("renaming"))?;
        }
        vfs.sync_folder().map_err(failed("syncing the folder of"))?;
        Ok(Some(Self { number, length: if is_longer { length } else { sure }, file }))
    }
}
