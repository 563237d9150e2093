//! Which files of a folder count.

use std::sync::Arc;

use lessor_vfs::File;

use crate::format::frame::Frames;
use crate::format::names::{self, checkpoint_name, checkpoint_number, segment_name, segment_number};
use crate::format::segment::{Begin, FIRST_FRAME, SegmentHeader};
use crate::format::superblock;
use crate::image::reading::{IS_FOLDER, Reading};
use crate::image::types::Image;
use crate::problem::Problem;

pub(super) struct Listed {
    /// Segments with a header, in the order of their numbers.
    pub(super) used: Vec<(SegmentHeader, Arc<dyn File>)>,
    /// The segment behind those, if it was made already.
    pub(super) unused: Option<(u64, Arc<dyn File>)>,
    pub(super) leftovers: Vec<String>,
    pub(super) next: u64,
}

impl Reading<'_> {
    /// Sorts out which files count.
    pub(super) fn files(
        &mut self,
        block: &superblock::Superblock,
        names: &[String],
    ) -> Result<Listed, Problem> {
        let mut leftovers = Vec::new();
        let mut numbers = Vec::new();
        for name in names {
            match (segment_number(name), checkpoint_number(name)) {
                (Some(number), _) if number >= block.first_segment() && segment_name(number) == *name => {
                    numbers.push(number);
                }
                (_, Some(number)) if number == block.checkpoint() && checkpoint_name(number) == *name => {}
                (None, None) if name != names::SUPERBLOCK_NEW => {}
                _ => leftovers.push(name.clone()),
            }
        }
        numbers.sort_unstable();
        let mut used: Vec<(SegmentHeader, Arc<dyn File>)> = Vec::new();
        let mut unused = None;
        let mut next = block.first_segment().max(1);
        for number in numbers {
            let name = segment_name(number);
            let file = self.open(&name)?;
            let failed = self.failed(&name);
            match SegmentHeader::read(&*file, &self.log).map_err(&failed)? {
                Begin::Header(header) => {
                    if number != next || unused.is_some() || header.number != number {
                        let missing = segment_name(next);
                        let reason = format!("the file is missing, although there is {name}");
                        return Err(Problem::corrupt(self.vfs, &missing, 0, reason));
                    }
                    next = number + 1;
                    self.progress.total += file.len().map_err(&failed)?;
                    used.push((header, file));
                }
                Begin::None => {
                    leftovers.push(name);
                    if number == next && unused.is_none() {
                        unused = Some((number, file));
                    }
                }
                Begin::Damaged(reason) => return Err(Problem::corrupt(self.vfs, &name, 0, reason)),
                Begin::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            }
        }
        for name in &leftovers {
            // An opening could not remove it, and could not make a file of that name.
            if self.vfs.open(name).is_err_and(|error| error.kind() == std::io::ErrorKind::IsADirectory) {
                return Err(Problem::corrupt(self.vfs, name, 0, IS_FOLDER));
            }
        }
        if used.is_empty() && block.first_segment() > 0 {
            let name = segment_name(block.first_segment());
            return Err(Problem::corrupt(self.vfs, &name, 0, "the segment is missing or empty"));
        }
        if let Some((last, _)) = used.last()
            && last.epoch < block.epoch
        {
            // Each opening has its segment, and says so only once that is there.
            let reason =
                "the file is missing or empty, although the log was written to after the segment before";
            return Err(Problem::corrupt(self.vfs, &segment_name(next), 0, reason));
        }
        if block.checkpoint() > 0 {
            let name = checkpoint_name(block.checkpoint());
            self.progress.total += self.open(&name)?.len().map_err(self.failed(&name))?;
        }
        Ok(Listed { used, unused, leftovers, next })
    }

    /// A segment without a header may hold a frame whose sync never ended, but none that was synced.
    pub(super) fn check_unused(&self, image: &Image, number: u64, file: &dyn File) -> Result<(), Problem> {
        let name = segment_name(number);
        let length = file.len().map_err(self.failed(&name))?;
        let mut frames = Frames::new(file, &self.log, FIRST_FRAME, length);
        let behind = frames.headers_behind().map_err(self.failed(&name))?;
        match behind.iter().find(|(_, found)| found.durable_upto > image.end) {
            None => Ok(()),
            Some((at, _)) => Err(Problem::corrupt(
                self.vfs,
                &name,
                *at,
                "there are synced frames, but no header of the file",
            )),
        }
    }
}
