//! The segment that an opening continues in, including on a full disk.
//!
//! The opening reuses the segment that the previous process made ahead, which has space for the
//! outcomes of live leases. If there is none, the opening creates one. If the disk is full, the
//! unused end of the last segment is truncated to gain space. If even that does not suffice, the
//! log is opened without a segment and continues in the first one that can be created.

use std::io;
use std::sync::Arc;

use lessor_vfs::Vfs;

use crate::format::frame::{Frame, FrameHeader, FrameKind, FrameRead, FrameReader, SECTOR, checksum_of};
use crate::format::names::{SUPERBLOCK, segment_name};
use crate::format::segment::{FIRST_FRAME, MIN_SEGMENT, Segment, SegmentHeader, SyncedSegment};
use crate::format::spare::Spare;
use crate::format::superblock::Superblock;
use crate::image::Image;
use crate::log::staging::Writer;
use crate::problem::{Problem, is_full};
use crate::settings::Settings;

pub(super) struct Opening<'o> {
    pub(super) vfs: &'o dyn Vfs,
    pub(super) settings: &'o Settings,
    pub(super) epoch: u32,
    pub(super) clock: u64,
    /// A segment that was made ahead and not used exists.
    pub(super) has_spare: bool,
    /// The bytes that the outcomes of all live leases take.
    pub(super) leases: u64,
}

impl Opening<'_> {
    /// Returns the position at which the log continues, and the new segment if there was space for
    /// one. All frames of the image are proven afterwards.
    pub(super) fn begin(mut self, image: &mut Image) -> Result<(Writer, Option<SyncedSegment>), Problem> {
        let frames = std::mem::take(&mut image.unproven);
        let tail: u64 = frames.iter().map(|frame| frame.size).sum();
        let least = (FIRST_FRAME + tail + self.leases).max(MIN_SEGMENT);
        let best = self.settings.first_segment.max(FIRST_FRAME + 2 * (tail + self.leases));
        match self.spare(image.next_segment, best, least) {
            Ok(spare) => return self.write_segment(spare, image, &frames),
            Err(problem) if !is_out_of_space(&problem) || image.segments.is_empty() => return Err(problem),
            Err(_) => {}
        }
        tracing::warn!(
            place = self.vfs.describe(),
            "the disk is full; the log continues with the space that it has"
        );
        self.secure_tail(image, &frames)?;
        match Spare::create_within(
            self.vfs,
            image.next_segment,
            FIRST_FRAME + 2 * self.leases.max(SECTOR * 8),
            MIN_SEGMENT,
        ) {
            Ok(spare) => self.write_segment(spare, image, &[]),
            Err(problem) if is_out_of_space(&problem) => self.continue_in_last(image, problem),
            Err(problem) => Err(problem),
        }
    }

    /// Returns an empty segment of `best` bytes if possible, and of `least` bytes at least.
    fn spare(&mut self, number: u64, best: u64, least: u64) -> Result<Spare, Problem> {
        let sectors = |length: u64| length.div_ceil(SECTOR) * SECTOR;
        let (length, least) = (sectors(best).max(sectors(least)), sectors(least));
        if std::mem::take(&mut self.has_spare) {
            if let Some(spare) = Spare::reuse(self.vfs, number, length, least)? {
                return Ok(spare);
            }
            let name = segment_name(number);
            self.vfs.remove(&name).map_err(|error| Problem::io(self.vfs, &name, "removing", error))?;
        }
        Spare::create_within(self.vfs, number, length, least)
    }

    /// Begins the segment with the frames that may not be on the disk. After a failed sync such
    /// frames can be read although they are not durable, and syncing them again does not make them
    /// durable.
    fn write_segment(
        &self,
        spare: Spare,
        image: &Image,
        frames: &[Frame],
    ) -> Result<(Writer, Option<SyncedSegment>), Problem> {
        let Spare { number, length, file } = spare;
        let name = segment_name(number);
        let failed = |doing| {
            let name = &name;
            move |error| Problem::io(self.vfs, name, doing, error)
        };
        let log = &image.superblock.block().log;
        let (epoch, clock) = (self.epoch, self.clock);
        let (mut starts, mut at, mut last) = (Vec::new(), FIRST_FRAME, image.proven_checksum);
        for frame in frames {
            let mut builder = frame.rebuild();
            let lsn = frame.header.lsn;
            let header = FrameHeader { kind: FrameKind::Log, epoch, lsn, durable_upto: image.proven, clock };
            let bytes = builder.seal(log, header);
            file.write_all_at(bytes, at).map_err(failed("writing"))?;
            starts.push(at);
            last = checksum_of(bytes);
            at += bytes.len() as u64;
        }
        if !frames.is_empty() {
            // Synced before the header is written: with its header, the segment replaces these
            // frames in the one before.
            file.sync().map_err(failed("syncing"))?;
        }
        let previous_checksum = image.proven_checksum;
        let header = SegmentHeader { number, epoch, first_lsn: image.proven + 1, previous_checksum, length };
        let segment = Segment::create(file, &header, log).map_err(failed("writing"))?;
        starts.into_iter().for_each(|start| segment.push_frame(start));
        let begun = segment.sync_header().map_err(failed("syncing"))?;
        Ok((Writer { segment, at, last }, Some(begun)))
    }

    /// Makes the unproven frames durable by writing the same bytes again in place, and truncates
    /// the unused end of the last segment.
    fn secure_tail(&self, image: &mut Image, frames: &[Frame]) -> Result<(), Problem> {
        let Some(last) = image.segments.last().map(Arc::clone) else { return Ok(()) };
        let name = segment_name(last.number);
        let failed = |doing| {
            let name = &name;
            move |error| Problem::io(self.vfs, name, doing, error)
        };
        for frame in frames {
            let Some(at) = last.offset_of(frame.header.lsn) else { continue };
            let mut bytes = vec![0; usize::try_from(frame.size).unwrap_or(0)];
            last.file.read_full_at(&mut bytes, at).map_err(failed("reading"))?;
            last.file.write_all_at(&bytes, at).map_err(failed("writing"))?;
        }
        if let Some(frame) = frames.last() {
            last.sync().map_err(failed("syncing"))?;
            image.proven_checksum = frame.checksum;
        }
        image.proven = image.end;
        let used = self.used(image, &last).map_err(failed("reading"))?;
        let (end, number) = (image.end, last.number);
        let update = |block: &mut Superblock| {
            block.synced = end;
            block.trimmed = number;
        };
        image
            .superblock
            .update(update)
            .map_err(|error| Problem::io(self.vfs, SUPERBLOCK, "writing", error))?;
        let length = last.file.len().map_err(failed("reading"))?;
        match used.filter(|used| *used < length) {
            Some(used) => last.file.truncate(used).map_err(failed("cutting")),
            None => Ok(()),
        }
    }

    /// Returns the end of the last frame of the last segment.
    fn used(&self, image: &Image, last: &Segment) -> io::Result<Option<u64>> {
        if image.end < last.first_lsn {
            return Ok(Some(FIRST_FRAME));
        }
        let Some(at) = last.offset_of(image.end) else { return Ok(None) };
        let mut frames = FrameReader::new(&*last.file, &image.superblock.block().log, at, last.file.len()?);
        Ok(matches!(frames.next()?, FrameRead::Frame(_)).then_some(frames.at()))
    }

    /// Continues without a new segment. The log can be read, and continues in the first segment
    /// that can be created.
    fn continue_in_last(
        &self,
        image: &Image,
        problem: Problem,
    ) -> Result<(Writer, Option<SyncedSegment>), Problem> {
        let Some(last) = image.segments.last() else { return Err(problem) };
        let (segment, at) = (Arc::clone(last), last.length);
        Ok((Writer { segment, at, last: image.proven_checksum }, None))
    }
}

fn is_out_of_space(problem: &Problem) -> bool {
    matches!(problem, Problem::Io { error, .. } if is_full(error) || error.kind() == io::ErrorKind::FileTooLarge)
}
