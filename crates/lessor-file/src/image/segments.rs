//! Reading the segments, and finding the end of the log.

use std::sync::Arc;

use lessor_vfs::File;

use crate::format::entry::Entries;
use crate::format::frame::{Frame, FrameHeader, FrameKind, FrameRead, FrameReader};
use crate::format::names::segment_name;
use crate::format::segment::{FIRST_FRAME, Segment, SegmentHeader};
use crate::image::reading::ImageReader;
use crate::image::types::{Image, Torn};
use crate::index::location::FileRef;
use crate::problem::Problem;

impl ImageReader<'_> {
    pub(super) fn segments(
        &mut self,
        image: &mut Image,
        used: Vec<(SegmentHeader, Arc<dyn File>)>,
        mut expected: u64,
    ) -> Result<(), Problem> {
        let mut successors = used.iter().skip(1).map(|(header, _)| *header).collect::<Vec<_>>().into_iter();
        // The header checksum of the frame before the expected one, once it is known.
        let mut last = None;
        for (header, file) in used {
            let name = segment_name(header.number);
            let corrupt = |at, reason: &str| Problem::corrupt(self.vfs, &name, at, reason);
            if header.first_lsn != expected || last.is_some_and(|last| last != header.previous_checksum) {
                return Err(corrupt(0, "the segment does not continue the previous one"));
            }
            last = Some(header.previous_checksum);
            image.epoch = image.epoch.max(header.epoch);
            let segment = Segment::open(&header, file);
            let successor = successors.next();
            let read = self.segment(image, &segment, &header, successor.as_ref(), &mut last)?;
            image.segments.push(Arc::clone(&segment));
            expected = match successor {
                Some(successor) => successor.first_lsn,
                None => read,
            };
        }
        Ok(())
    }

    /// Reads a segment up to the first frame of its successor, or to its end. Returns the LSN of
    /// the frame that follows.
    fn segment(
        &mut self,
        image: &mut Image,
        segment: &Segment,
        header: &SegmentHeader,
        successor: Option<&SegmentHeader>,
        last: &mut Option<u32>,
    ) -> Result<u64, Problem> {
        let name = segment_name(segment.number);
        let failed = self.failed(&name);
        let length = segment.file.len().map_err(&failed)?;
        let mut frames = FrameReader::new(&*segment.file, &self.log, FIRST_FRAME, length.min(header.length));
        let mut expected = header.first_lsn;
        let mut whole = Vec::new();
        let mut proven = image.superblock.block().synced.max(header.first_lsn - 1);
        let end = loop {
            if successor.is_some_and(|successor| expected >= successor.first_lsn) {
                break None;
            }
            let at = frames.at();
            match frames.next().map_err(&failed)? {
                FrameRead::Frame(frame) => {
                    let is_next = frame.header.lsn == expected && frame.header.epoch == header.epoch;
                    if !is_next
                        || frame.header.kind != FrameKind::Log
                        || frame.header.durable_upto >= expected
                    {
                        return Err(Problem::corrupt(self.vfs, &name, at, "a frame is out of sequence"));
                    }
                    proven = proven.max(frame.header.durable_upto);
                    self.advance(frame.size);
                    self.sink.enter_frame(&name, at, &frame);
                    self.frame(&name, at, &frame)?;
                    segment.push_frame(at);
                    image.clock = image.clock.max(frame.header.clock);
                    expected += 1;
                    if successor.is_none() {
                        keep_unproven(&mut whole, frame, proven, last);
                    } else {
                        *last = Some(frame.checksum);
                    }
                }
                other => break Some((at, other)),
            }
        };
        let corrupt = |at, reason: &str| Err(Problem::corrupt(self.vfs, &name, at, reason));
        match (end, successor) {
            (None, _) => {}
            (Some((at, FrameRead::Damaged(reason))), _) => return corrupt(at, reason),
            (Some((at, _)), Some(_)) => return corrupt(at, "the segment ends before the next one begins"),
            (Some((at, _)), None) => {
                let is_trimmed = image.superblock.block().trimmed == segment.number
                    && image.superblock.block().synced == expected - 1;
                if length < header.length && !is_trimmed {
                    return corrupt(at, "the file was shortened");
                }
                let behind = frames.headers_behind().map_err(&failed)?;
                let proof = |(_, found): &(u64, FrameHeader)| {
                    found.epoch == header.epoch && found.durable_upto >= expected
                };
                if behind.iter().any(proof) {
                    return corrupt(at, "a frame is missing that was synced");
                }
                let durable = behind.iter().filter(|(_, found)| found.epoch == header.epoch);
                proven = durable.map(|(_, found)| found.durable_upto).fold(proven, u64::max);
                if !behind.is_empty() || !frames.is_blank().map_err(&failed)? {
                    image.torn = Some(Torn { segment: segment.number, offset: at });
                }
            }
        }
        if successor.is_none() {
            image.end = expected - 1;
            image.proven = proven.min(image.end);
            let (before, tail) = split(whole, image.proven);
            image.proven_checksum = before.or(*last).unwrap_or_default();
            image.unproven = tail;
        }
        Ok(expected)
    }

    fn frame(&mut self, name: &str, at: u64, frame: &Frame) -> Result<(), Problem> {
        for entry in Entries::new(&frame.data, false) {
            let entry = entry.map_err(|reason| Problem::corrupt(self.vfs, name, at, reason))?;
            self.record(name, at, frame.header.lsn, FileRef::Log, &entry)?;
        }
        Ok(())
    }
}

/// Keeps the frames that are not proven yet, and the checksum of the last proven one.
fn keep_unproven(whole: &mut Vec<Frame>, frame: Frame, proven: u64, last: &mut Option<u32>) {
    whole.push(frame);
    let count = whole.iter().take_while(|frame| frame.header.lsn <= proven).count();
    if let Some(frame) = whole.drain(..count).next_back() {
        *last = Some(frame.checksum);
    }
}

fn split(whole: Vec<Frame>, proven: u64) -> (Option<u32>, Vec<Frame>) {
    let (before, tail): (Vec<_>, Vec<_>) = whole.into_iter().partition(|frame| frame.header.lsn <= proven);
    (before.last().map(|frame| frame.checksum), tail)
}
