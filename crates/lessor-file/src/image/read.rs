//! Reading a whole log.

use lessor_vfs::Vfs;

use crate::format::names::{self, checkpoint_name, checkpoint_number, segment_name, segment_number};
use crate::format::superblock;
use crate::image::reading::ImageReader;
use crate::image::types::{Image, OnProgress, Progress, RecordSink};
use crate::problem::Problem;

/// Reads the log in a folder. Returns `None` if there is none.
pub(crate) fn read(
    vfs: &dyn Vfs,
    sink: &mut dyn RecordSink,
    on_progress: OnProgress<'_>,
) -> Result<Option<Image>, Problem> {
    let names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
    let Some(superblock) = superblock::SuperblockFile::open(vfs)? else {
        let is_ours = |name: &&String| segment_number(name).is_some() || checkpoint_number(name).is_some();
        let first = checkpoint_name(1);
        return match names.iter().find(is_ours) {
            None => Ok(None),
            Some(name) if *name == first && names.iter().filter(is_ours).count() == 1 => {
                Err(Problem::corrupt(
                    vfs,
                    names::SUPERBLOCK,
                    0,
                    format!(
                        "it is missing, although {name} exists; this may be a backup that was not finished, which has to be repeated"
                    ),
                ))
            }
            Some(name) => Err(Problem::corrupt(
                vfs,
                names::SUPERBLOCK,
                0,
                format!("it is missing, although {name} exists"),
            )),
        };
    };
    let block = *superblock.block();
    let mut reading =
        ImageReader { vfs, log: block.log, sink, on_progress, progress: Progress { done: 0, total: 0 } };
    let files = reading.files(&block, &names)?;
    let checkpoint = match block.checkpoint() {
        0 => None,
        number => Some(reading.checkpoint(number)?),
    };
    let mut image = Image::of(superblock);
    (image.stale_files, image.next_segment) = (files.stale_files, files.next);
    let (mut first_lsn, mut kept_upto) = (1, 0);
    if let Some((checkpoint, ends)) = checkpoint {
        (first_lsn, kept_upto) = (ends.first_lsn, ends.last_lsn);
        // Without segments, as in a backup, the log continues after the frames of the checkpoint.
        image.end = if files.used.is_empty() { ends.last_lsn.max(first_lsn - 1) } else { first_lsn - 1 };
        image.proven = image.end;
        image.clock = image.clock.max(ends.clock);
        image.checkpoint = Some(checkpoint);
    }
    reading.segments(&mut image, files.used, first_lsn)?;
    if let Some((number, file)) = files.unused {
        reading.check_unused(&image, number, &*file)?;
    }
    // The superblock names a checkpoint only once all frames whose records it holds are synced.
    let synced = block.synced.max(kept_upto);
    if image.end < synced {
        let name =
            image.segments.last().map_or(names::SUPERBLOCK.to_owned(), |last| segment_name(last.number));
        let at = image.torn.map_or(0, |torn| torn.offset);
        let reason = format!("frames {} to {synced} are missing", image.end + 1);
        return Err(Problem::corrupt(vfs, &name, at, reason));
    }
    if block.is_clean {
        // The reservations in frames reach beyond the last time that was returned.
        image.clock = block.clock;
    }
    (reading.on_progress)(Progress { done: reading.progress.total, total: reading.progress.total });
    Ok(Some(image))
}
