//! Reading a damaged log as far as possible, and the whole frames after the damage.

use std::sync::Arc;

use lessor_core::DecodeError;
use lessor_vfs::{File, Vfs};

use crate::check::summary::ReadableRecord;
use crate::format::entry::{self, Entries, Entry};
use crate::format::frame::{Frame, FrameKind, FrameRead, FrameReader, LogId, MAX_FRAME};
use crate::format::names::{segment_name, segment_number};
use crate::format::segment::{FIRST_FRAME, HeaderState, SegmentHeader};
use crate::format::superblock::Superblock;
use crate::problem::Problem;

/// A frame of the log whose records are all whole.
pub(crate) struct WholeFrame<'f> {
    pub(crate) lsn: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) frame: &'f Frame,
    pub(crate) records: Vec<(Entry<'f>, ReadableRecord)>,
}

/// The result of reading the segments.
pub(crate) struct Walk {
    pub(crate) segments: Vec<Listed>,
    /// The LSN of the last frame in the unbroken sequence; `first - 1` if there is none.
    pub(crate) end: u64,
    /// The header checksum of that frame.
    pub(crate) checksum: u32,
    /// The position at which the sequence breaks off: the index of the segment and the offset in
    /// it.
    pub(crate) stop: (usize, u64),
    /// The latest `clock` of any whole frame, including those after the break.
    pub(crate) clock: u64,
    pub(crate) epoch: u32,
}

pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: Option<SegmentHeader>,
}

impl Listed {
    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }
}

/// Calls `each` with every frame of the unbroken sequence that begins with the LSN `first`.
pub(crate) fn walk(
    vfs: &dyn Vfs,
    block: &Superblock,
    first: u64,
    mut each: impl FnMut(WholeFrame<'_>) -> Result<(), Problem>,
) -> Result<Walk, Problem> {
    let segments = list(vfs, block)?;
    let mut walked = Walk {
        segments: Vec::new(),
        end: first - 1,
        checksum: 0,
        stop: (0, 0),
        clock: block.clock,
        epoch: block.epoch,
    };
    let numbers = block.first_segment().max(1)..;
    let mut last = None;
    for (number, (index, listed)) in numbers.zip(segments.iter().enumerate()) {
        let Some(header) = listed.header else { break };
        let continues =
            header.first_lsn == walked.end + 1 && last.is_none_or(|last| last == header.previous_checksum);
        if listed.number != number || header.number != number || !continues {
            break;
        }
        walked.checksum = header.previous_checksum;
        let next = segments.get(index + 1).and_then(|next| next.header).map(|next| next.first_lsn);
        let mut frames = whole_file(vfs, listed, block)?;
        walked.stop = (index, FIRST_FRAME);
        while next != Some(walked.end + 1) {
            let offset = frames.at();
            let Some(frame) = next_frame(vfs, listed, &mut frames)? else { break };
            let Some(records) = records(vfs, listed, offset, &frame)? else { break };
            let lsn = walked.end + 1;
            let found = frame.header;
            if found.lsn != lsn || found.epoch != header.epoch || found.durable_upto >= lsn {
                break;
            }
            each(WholeFrame { lsn, segment: listed.number, offset, frame: &frame, records })?;
            walked.end = lsn;
            walked.checksum = frame.checksum;
            walked.stop = (index, frames.at());
        }
        last = Some(walked.checksum);
        if next != Some(walked.end + 1) {
            break;
        }
    }
    walked.epoch = segments
        .iter()
        .filter_map(|listed| listed.header)
        .fold(walked.epoch, |epoch, header| epoch.max(header.epoch));
    walked.segments = segments;
    Ok(walked)
}

/// Calls `each` with every whole frame of a segment after an offset, wherever it begins.
pub(crate) fn salvage(
    vfs: &dyn Vfs,
    listed: &Listed,
    block: &Superblock,
    from: u64,
    mut each: impl FnMut(u64, &Frame, Option<Vec<(Entry<'_>, ReadableRecord)>>),
) -> Result<(), Problem> {
    let mut frames = whole_file(vfs, listed, block)?;
    frames.go_to(from.max(FIRST_FRAME));
    let failed = |error| Problem::io(vfs, &listed.name(), "reading", error);
    for (offset, _) in frames.headers_behind().map_err(failed)? {
        if offset < frames.at() {
            // The header is inside of the frame before.
            continue;
        }
        frames.go_to(offset);
        if let Some(frame) = next_frame(vfs, listed, &mut frames)? {
            each(offset, &frame, records(vfs, listed, offset, &frame)?);
        }
    }
    Ok(())
}

fn list(vfs: &dyn Vfs, block: &Superblock) -> Result<Vec<Listed>, Problem> {
    let names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name).filter(|number| segment_name(*number) == *name))
        .filter(|number| *number >= block.first_segment())
        .collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in numbers {
        let name = segment_name(number);
        let file = vfs.open(&name).map_err(|error| Problem::io(vfs, &name, "opening", error))?;
        let begin = SegmentHeader::read(&*file, &block.log)
            .map_err(|error| Problem::io(vfs, &name, "reading", error))?;
        let header = match begin {
            HeaderState::Valid(header) => Some(header),
            HeaderState::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            HeaderState::Missing | HeaderState::Damaged(_) => None,
        };
        segments.push(Listed { number, file, header });
    }
    Ok(segments)
}

fn whole_file<'l>(vfs: &dyn Vfs, listed: &'l Listed, block: &Superblock) -> Result<FrameReader<'l>, Problem> {
    let name = listed.name();
    let length = listed.file.len().map_err(|error| Problem::io(vfs, &name, "reading", error))?;
    let log: &LogId = &block.log;
    // A segment has no frames beyond the length in its header.
    let length = listed.header.map_or(length, |header| length.min(header.length));
    Ok(FrameReader::new(&*listed.file, log, FIRST_FRAME, length))
}

fn next_frame(
    vfs: &dyn Vfs,
    listed: &Listed,
    frames: &mut FrameReader<'_>,
) -> Result<Option<Frame>, Problem> {
    let found = frames.next().map_err(|error| Problem::io(vfs, &listed.name(), "reading", error))?;
    Ok(match found {
        FrameRead::Frame(frame) if frame.header.kind == FrameKind::Log && frame.size <= MAX_FRAME => {
            Some(frame)
        }
        _ => None,
    })
}

/// Decodes all records of a frame. Returns `None` if one of them is damaged. A record of a newer
/// format is an error, because its token cannot be read.
fn records<'f>(
    vfs: &dyn Vfs,
    listed: &Listed,
    at: u64,
    frame: &'f Frame,
) -> Result<Option<Vec<(Entry<'f>, ReadableRecord)>>, Problem> {
    let mut records = Vec::new();
    for entry in Entries::new(&frame.data, false) {
        let Ok(entry) = entry else { return Ok(None) };
        if entry::checksum(&entry.key, entry.record) != entry.checksum {
            return Ok(None);
        }
        match ReadableRecord::read(entry.record) {
            Ok(readable) => records.push((entry, readable)),
            Err(error @ DecodeError::NewerFormat { .. }) => {
                return Err(Problem::incompatible(vfs, &listed.name(), at, &entry.key, &error));
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(records))
}
