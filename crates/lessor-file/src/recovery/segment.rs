//! The segment that an opening goes on in, also where the disk is full.
//!
//! The segment that the process before had made ahead is taken over: it has room for what holders have to say. Where there is none, one
//! is made. Without room for that, what is not used of the last segment is given back to the disk and made use of; and without that, the
//! log is opened as it is, and goes on in a segment once one can be made.

use std::io;
use std::sync::Arc;

use crate::format::frame::{Found, Frame, Frames, Header, Kind, SECTOR, checksum_of};
use crate::format::names::{SUPERBLOCK, segment_name};
use crate::format::segment::{FIRST_FRAME, MIN_SEGMENT, Segment, SegmentHeader, SyncedSegment};
use crate::format::spare::Spare;
use crate::format::superblock::Superblock;
use crate::image::Image;
use crate::log::staging::Writer;
use crate::problem::{Problem, is_full};
use crate::settings::Settings;
use lessor_vfs::Vfs;

pub(super) struct Opening<'o> {
    pub(super) vfs: &'o dyn Vfs,
    pub(super) settings: &'o Settings,
    pub(super) epoch: u32,
    pub(super) clock: u64,
    /// There is a segment that was made ahead and not used.
    pub(super) has_spare: bool,
    /// Bytes that the outcomes of all live leases take.
    pub(super) leases: u64,
}

impl Opening<'_> {
    /// Where the log goes on, and the segment that was begun for it, if there was room for one. What is not proven of the image is,
    /// afterwards.
    pub(super) fn begin(mut self, image: &mut Image) -> Result<(Writer, Option<SyncedSegment>), Problem> {
        let frames = std::mem::take(&mut image.tail);
        let tail: u64 = frames.iter().map(|frame| frame.size).sum();
        let least = (FIRST_FRAME + tail + self.leases).max(MIN_SEGMENT);
        let best = self.settings.first_segment.max(FIRST_FRAME + 2 * (tail + self.leases));
        match self.spare(image.next_segment, best, least) {
            Ok(spare) => return self.write_segment(spare, image, &frames),
            Err(problem) if !is_short(&problem) || image.segments.is_empty() => return Err(problem),
            Err(_) => {}
        }
        tracing::warn!(
            place = self.vfs.place(),
            "the disk is full; the log makes do with the room that it has"
        );
        self.settle(image, &frames)?;
        match Spare::create_within(
            self.vfs,
            image.next_segment,
            FIRST_FRAME + 2 * self.leases.max(SECTOR * 8),
            MIN_SEGMENT,
        ) {
            Ok(spare) => self.write_segment(spare, image, &[]),
            Err(problem) if is_short(&problem) => self.without(image, problem),
            Err(problem) => Err(problem),
        }
    }

    /// An empty segment of about the best length, or at least of the other.
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

    /// Begins with the frames that so far may be in the memory of the operating system only: after a failed sync, reading shows them
    /// although they are not on the disk, and syncing them again says nothing.
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
            let header = Header { kind: Kind::Entries, epoch, lsn, durable_upto: image.proven, clock };
            let bytes = builder.seal(log, header);
            file.write_all_at(bytes, at).map_err(failed("writing"))?;
            starts.push(at);
            last = checksum_of(bytes);
            at += bytes.len() as u64;
        }
        if !frames.is_empty() {
            // Before the header: with it, this segment takes the place of the frames in the one before.
            file.sync().map_err(failed("syncing"))?;
        }
        let former = image.proven_checksum;
        let header = SegmentHeader { number, epoch, first_lsn: image.proven + 1, former, length };
        let segment = Segment::begin(file, &header, log).map_err(failed("writing"))?;
        starts.into_iter().for_each(|start| segment.begin_frame(start));
        let begun = segment.synced().map_err(failed("syncing"))?;
        Ok((Writer { segment, at, last }, Some(begun)))
    }

    /// Makes sure of what is not proven where it is, by writing the same once more, and gives back to the disk what is not used of the
    /// last segment.
    fn settle(&self, image: &mut Image, frames: &[Frame]) -> Result<(), Problem> {
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
            Some(used) => last.file.cut(used).map_err(failed("cutting")),
            None => Ok(()),
        }
    }

    /// Where the last frame of the last segment ends.
    fn used(&self, image: &Image, last: &Segment) -> io::Result<Option<u64>> {
        if image.end < last.first_lsn {
            return Ok(Some(FIRST_FRAME));
        }
        let Some(at) = last.offset_of(image.end) else { return Ok(None) };
        let mut frames = Frames::new(&*last.file, &image.superblock.block().log, at, last.file.len()?);
        Ok(matches!(frames.next()?, Found::Frame(_)).then_some(frames.at()))
    }

    /// Without any room: what is there can be read. The log goes on in the first segment that can be made.
    fn without(&self, image: &Image, problem: Problem) -> Result<(Writer, Option<SyncedSegment>), Problem> {
        let Some(last) = image.segments.last() else { return Err(problem) };
        let (segment, at) = (Arc::clone(last), last.length);
        Ok((Writer { segment, at, last: image.proven_checksum }, None))
    }
}

fn is_short(problem: &Problem) -> bool {
    matches!(problem, Problem::Io { error, .. } if is_full(error) || error.kind() == io::ErrorKind::FileTooLarge)
}
