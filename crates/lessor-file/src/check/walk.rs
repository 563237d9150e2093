//! Reading a damaged log as far as it goes, and what is whole behind that.

use std::sync::Arc;

use lessor_core::{Key, Record};

use crate::format::entry::{self, Entries};
use crate::format::frame::{Found, Frame, Frames, Kind, LogId, MAX_FRAME};
use crate::format::names::{segment_name, segment_number};
use crate::format::segment::{Begin, FIRST_FRAME, SegmentHeader};
use crate::format::superblock::Superblock;
use crate::problem::Problem;
use lessor_vfs::{File, Vfs};

/// A frame of the log, with all its records found to be whole.
pub(crate) struct Whole<'f> {
    pub(crate) lsn: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) frame: &'f Frame,
    pub(crate) records: Vec<(Key, Record)>,
}

/// How far the segments could be read.
pub(crate) struct Walked {
    pub(crate) segments: Vec<Listed>,
    /// The last frame of the unbroken row; `first - 1` if there is none.
    pub(crate) end: u64,
    /// The checksum of that frame.
    pub(crate) checksum: u32,
    /// Where the row breaks off: which of the segments, and where in it.
    pub(crate) stop: (usize, u64),
    /// The highest of all frames that are whole, those behind the break included.
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

/// Hands on every frame of the unbroken row that begins with the LSN `first`.
pub(crate) fn walk(
    vfs: &dyn Vfs,
    block: &Superblock,
    first: u64,
    mut each: impl FnMut(Whole<'_>) -> Result<(), Problem>,
) -> Result<Walked, Problem> {
    let segments = list(vfs, block)?;
    let mut walked = Walked {
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
        let continues = header.first_lsn == walked.end + 1 && last.is_none_or(|last| last == header.former);
        if listed.number != number || header.number != number || !continues {
            break;
        }
        walked.checksum = header.former;
        let next = segments.get(index + 1).and_then(|next| next.header).map(|next| next.first_lsn);
        let mut frames = whole_file(vfs, listed, block)?;
        walked.stop = (index, FIRST_FRAME);
        while next != Some(walked.end + 1) {
            let offset = frames.at();
            let Some(frame) = next_frame(vfs, listed, &mut frames)? else { break };
            let Some(records) = records(&frame) else { break };
            let lsn = walked.end + 1;
            let found = frame.header;
            if found.lsn != lsn || found.epoch != header.epoch || found.durable_upto >= lsn {
                break;
            }
            each(Whole { lsn, segment: listed.number, offset, frame: &frame, records })?;
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

/// The frames behind a place of a segment that are whole, wherever they begin.
pub(crate) fn salvage(
    vfs: &dyn Vfs,
    listed: &Listed,
    block: &Superblock,
    from: u64,
    mut each: impl FnMut(u64, &Frame, Option<Vec<(Key, Record)>>),
) -> Result<(), Problem> {
    let mut frames = whole_file(vfs, listed, block)?;
    frames.go_to(from.max(FIRST_FRAME));
    let failed = |error| Problem::io(vfs, &listed.name(), "reading", error);
    for (offset, _) in frames.headers_behind().map_err(failed)? {
        if offset < frames.at() {
            // Inside of the frame before.
            continue;
        }
        frames.go_to(offset);
        if let Some(frame) = next_frame(vfs, listed, &mut frames)? {
            each(offset, &frame, records(&frame));
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
            Begin::Header(header) => Some(header),
            Begin::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            Begin::None | Begin::Damaged(_) => None,
        };
        segments.push(Listed { number, file, header });
    }
    Ok(segments)
}

fn whole_file<'l>(vfs: &dyn Vfs, listed: &'l Listed, block: &Superblock) -> Result<Frames<'l>, Problem> {
    let name = listed.name();
    let length = listed.file.len().map_err(|error| Problem::io(vfs, &name, "reading", error))?;
    let log: &LogId = &block.log;
    // Behind its length a segment has nothing.
    let length = listed.header.map_or(length, |header| length.min(header.length));
    Ok(Frames::new(&*listed.file, log, FIRST_FRAME, length))
}

fn next_frame(vfs: &dyn Vfs, listed: &Listed, frames: &mut Frames<'_>) -> Result<Option<Frame>, Problem> {
    let found = frames.next().map_err(|error| Problem::io(vfs, &listed.name(), "reading", error))?;
    Ok(match found {
        Found::Frame(frame) if frame.header.kind == Kind::Entries && frame.size <= MAX_FRAME => Some(frame),
        _ => None,
    })
}

/// `None` if any of them is not whole.
fn records(frame: &Frame) -> Option<Vec<(Key, Record)>> {
    let mut records = Vec::new();
    for entry in Entries::new(&frame.data, false) {
        let entry = entry.ok()?;
        let fits = entry::checksum(&entry.key, entry.record) == entry.checksum;
        let record = fits.then(|| Record::decode(entry.record).ok())??;
        records.push((entry.key, record));
    }
    Some(records)
}
