//! Sorting the files of a folder into those that count and those that do not.

use std::sync::Arc;

use lessor_vfs::File;

use crate::format::frame::FrameReader;
use crate::format::names::{self, checkpoint_name, checkpoint_number, segment_name, segment_number};
use crate::format::segment::{FIRST_FRAME, HeaderState, SegmentHeader};
use crate::format::superblock;
use crate::image::reading::{IS_FOLDER, ImageReader};
use crate::image::types::Image;
use crate::problem::Problem;

pub(super) struct ListedFiles {
    /// The segments with a header, sorted by number.
    pub(super) used: Vec<(SegmentHeader, Arc<dyn File>)>,
    /// The segment after those, if it was made ahead.
    pub(super) unused: Option<(u64, Arc<dyn File>)>,
    pub(super) stale_files: Vec<String>,
    pub(super) next: u64,
}

impl ImageReader<'_> {
    /// Determines which files count, and checks that none is missing.
    pub(super) fn files(
        &mut self,
        block: &superblock::Superblock,
        names: &[String],
    ) -> Result<ListedFiles, Problem> {
        let mut stale_files = Vec::new();
        let mut numbers = Vec::new();
        for name in names {
            match (segment_number(name), checkpoint_number(name)) {
                (Some(number), _) if number >= block.first_segment() && segment_name(number) == *name => {
                    numbers.push(number);
                }
                (_, Some(number)) if number == block.checkpoint() && checkpoint_name(number) == *name => {}
                (None, None) if name != names::SUPERBLOCK_NEW => {}
                _ => stale_files.push(name.clone()),
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
                HeaderState::Valid(header) => {
                    if number != next || unused.is_some() || header.number != number {
                        let missing = segment_name(next);
                        let reason = format!("the file is missing, although {name} exists");
                        return Err(Problem::corrupt(self.vfs, &missing, 0, reason));
                    }
                    next = number + 1;
                    self.progress.total += file.len().map_err(&failed)?;
                    used.push((header, file));
                }
                HeaderState::Missing => {
                    stale_files.push(name);
                    if number == next && unused.is_none() {
                        unused = Some((number, file));
                    }
                }
                HeaderState::Damaged(reason) => return Err(Problem::corrupt(self.vfs, &name, 0, reason)),
                HeaderState::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            }
        }
        for name in &stale_files {
            // The opening could not remove the folder, nor create a file of that name.
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
            // Each opening creates a segment, and updates the epoch only once that segment is
            // there.
            let reason =
                "the file is missing or empty, although the log continued after the previous segment";
            return Err(Problem::corrupt(self.vfs, &segment_name(next), 0, reason));
        }
        if block.checkpoint() > 0 {
            let name = checkpoint_name(block.checkpoint());
            self.progress.total += self.open(&name)?.len().map_err(self.failed(&name))?;
        }
        Ok(ListedFiles { used, unused, stale_files, next })
    }

    /// Checks that a segment without a header holds no synced frame.
    pub(super) fn check_unused(&self, image: &Image, number: u64, file: &dyn File) -> Result<(), Problem> {
        let name = segment_name(number);
        let length = file.len().map_err(self.failed(&name))?;
        let mut frames = FrameReader::new(file, &self.log, FIRST_FRAME, length);
        let behind = frames.headers_behind().map_err(self.failed(&name))?;
        match behind.iter().find(|(_, found)| found.durable_upto > image.end) {
            None => Ok(()),
            Some((at, _)) => {
                Err(Problem::corrupt(self.vfs, &name, *at, "the file has synced frames but no header"))
            }
        }
    }
}
