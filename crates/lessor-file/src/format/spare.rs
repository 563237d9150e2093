//! Segments that are made ahead: files of zeros without a header.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use crate::format::frame::SECTOR;
use crate::format::names::{self, segment_name};
use crate::problem::Problem;

/// A segment that is all zeros, durably, and has no header yet.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn File>,
}

impl Spare {
    /// Makes the file and writes zeros to all of it, so that no later write has to grow it.
    pub(crate) fn create(vfs: &dyn Vfs, number: u64, length: u64) -> Result<Self, Problem> {
        let name = segment_name(number);
        let made = Self::fill(vfs, &name, length);
        if made.is_err() {
            // It takes up room, and its name is needed for the next try. What cannot be removed now is at the next opening.
            let _ = vfs.remove(&name);
        }
        Ok(Self { number, length, file: made? })
    }

    fn fill(vfs: &dyn Vfs, name: &str, length: u64) -> Result<Arc<dyn File>, Problem> {
        let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
        let file = vfs.create(name).map_err(failed("making"))?;
        // Not too much at once: commits would have to wait behind it.
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

/// Writes zeros to a part of a file.
fn zero_unsynced(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    // In small pieces: what is written in large ones is cached in large folios, and on Linux each later write of a few
    // bytes has to look at all of the folio's blocks.
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

/// How making a spare segment longer ended, if it failed.
#[derive(Debug)]
pub(crate) enum Unextended {
    /// It is as it was.
    Kept(Spare, io::Error),
    /// A sync failed: nothing is known of it any more.
    Lost(io::Error),
}

impl Spare {
    /// Makes it longer, durably.
    pub(crate) fn extend(self, length: u64) -> Result<Self, Unextended> {
        let Self { number, length: before, file } = self;
        let mut at = before;
        while at < length {
            // Syncs are told from writes: after a failed one the file cannot be used.
            let to = length.min(at + (1 << 20));
            let written = zero_unsynced(&*file, at, to);
            if let Err(error) = written {
                let _ = file.cut(before);
                return Err(Unextended::Kept(Self { number, length: before, file }, error));
            }
            file.sync().map_err(Unextended::Lost)?;
            at = to;
        }
        Ok(Self { number, length, file })
    }

    /// Makes one as long as there is room for, between `least` and `best`.
    pub(crate) fn create_within(vfs: &dyn Vfs, number: u64, best: u64, least: u64) -> Result<Self, Problem> {
        let name = &segment_name(number);
        let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
        let file = vfs.create(name).map_err(failed("making"))?;
        let mut length = best;
        let mut made = zero_unsynced(&*file, 0, best);
        if made.is_err() {
            length = file.len().map_err(failed("reading"))?.min(best) / SECTOR * SECTOR;
            if length >= least {
                made = file.cut(length);
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

    /// Takes over a file that an opening before made and did not use, or not so that anybody was told: zeros are written to it again, since
    /// nothing is known of what is on the disk. It is cut to `length`, or shorter if it was. `None` if less than `least` is left.
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
        // The last sector is written anew behind the end, and with it the length is.
        let sure = length - SECTOR;
        file.cut(sure).map_err(failed("cutting"))?;
        zero_unsynced(&*file, 0, sure).map_err(failed("writing"))?;
        let is_longer = zero_unsynced(&*file, sure, length).is_ok();
        if !is_longer {
            file.cut(sure).map_err(failed("cutting"))?;
        }
        file.sync().map_err(failed("syncing"))?;
        // Its name may so far be in the memory of the operating system only, as well.
        for (from, to) in [(name.as_str(), names::SUPERBLOCK_NEW), (names::SUPERBLOCK_NEW, name)] {
            vfs.rename(from, to).map_err(failed("renaming"))?;
        }
        vfs.sync_folder().map_err(failed("syncing the folder of"))?;
        Ok(Some(Self { number, length: if is_longer { length } else { sure }, file }))
    }
}
