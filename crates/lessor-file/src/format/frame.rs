//! The unit that is written, and survives or is lost, as a whole: a header, entries, and a mark at the end of each sector.
//!
//! A frame occupies whole sectors of zeros that were never written before. The last byte of each of its sectors is the
//! [`MARK`], which is not zero. Sectors are written front to back, so a sector that a power loss left unwritten or
//! half written has no mark, and a frame whose sectors all have theirs was written whole: if its checksum does not fit,
//! it was damaged later. That is how a torn tail is told from damage.

use std::io;

use crate::format::window::Window;
use lessor_vfs::File;

pub(crate) const SECTOR: u64 = SECTOR_BYTES as u64;
pub(crate) const SECTOR_BYTES: usize = 512;
/// Bytes of a sector that hold data; one more holds the mark.
const BODY: usize = 511;
/// Ends every written sector.
pub(crate) const MARK: u8 = 0xD7;
pub(crate) const HEADER: usize = 52;
const MAGIC: [u8; 4] = *b"LSRf";
/// The longest frame in bytes, sectors and all.
pub(crate) const MAX_FRAME: u64 = 256 << 20;

/// No number of a frame, a file or a change is larger, so that they can be counted on from without a check.
pub(crate) const MAX_NUMBER: u64 = 1 << 60;

/// What a log is known by: each has one of its own, so that files of another one are not taken for its own.
pub(crate) type LogId = [u8; 16];

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records as they were put, all under the frame's LSN.
    Entries = 1,
    /// Records of a checkpoint, each with its own LSN.
    Kept = 2,
    /// The end of a checkpoint: its number of records.
    End = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Rises with every opening of the log.
    pub(crate) epoch: u32,
    /// Log sequence number: 1 for the first frame of a log, and one more for each next.
    pub(crate) lsn: u64,
    /// When this was written, every frame up to this one had been synced.
    pub(crate) durable_upto: u64,
    /// No time up to this one may be told again: in µs since the epoch.
    pub(crate) clock: u64,
}

/// A frame that is being put together, laid out as it will be on the disk.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER] }
    }
}

impl FrameBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    /// Where the next byte goes, marks not counted.
    pub(crate) fn position(&self) -> u64 {
        let marks = self.bytes.len() / SECTOR_BYTES;
        (self.bytes.len() - marks) as u64
    }

    /// How many bytes the frame will have when `more` bytes are added.
    pub(crate) fn size_with(&self, more: usize) -> u64 {
        size_of(self.position() + more as u64)
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = BODY - self.bytes.len() % SECTOR_BYTES;
            let (now, later) = data.split_at(room.min(data.len()));
            self.bytes.extend_from_slice(now);
            if self.bytes.len() % SECTOR_BYTES == BODY {
                self.bytes.push(MARK);
            }
            data = later;
        }
    }

    /// The finished frame.
    pub(crate) fn seal(&mut self, log: &LogId, header: Header) -> &[u8] {
        let length = self.position();
        let whole = usize::try_from(size_of(length)).unwrap_or(usize::MAX);
        if self.bytes.len() < whole {
            self.bytes.resize(whole - 1, 0);
            self.bytes.push(MARK);
        }
        let body = crc32c::crc32c(self.bytes.get(HEADER..).unwrap_or_default());
        let head = encode_header(log, header, length, body);
        if let Some(place) = self.bytes.get_mut(..HEADER) {
            place.copy_from_slice(&head);
        }
        &self.bytes
    }

    /// Empties it, and keeps its memory unless that is a lot.
    pub(crate) fn reset(&mut self) {
        const KEEP: usize = 8 << 20;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(HEADER, 0);
    }
}

/// How many bytes a frame of so many data bytes, its header included, takes on the disk.
fn size_of(length: u64) -> u64 {
    length.div_ceil(BODY as u64) * SECTOR
}

/// Where a data byte of a frame is on the disk, from the frame's begin.
pub(crate) fn physical(position: u64) -> u64 {
    position + position / BODY as u64
}

fn encode_header(log: &LogId, header: Header, length: u64, body: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let mut rest = &mut out[..];
    let mut put = |bytes: &[u8]| {
        if let Some((now, later)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
            now.copy_from_slice(bytes);
            rest = later;
        }
    };
    put(&MAGIC);
    put(&[header.kind as u8, 0, 0, 0]);
    put(&length.to_le_bytes());
    put(&header.epoch.to_le_bytes());
    put(&header.lsn.to_le_bytes());
    put(&header.durable_upto.to_le_bytes());
    put(&header.clock.to_le_bytes());
    put(&body.to_le_bytes());
    let checksum = header_checksum(log, &out);
    let (_, place) = out.split_at_mut(HEADER - 4);
    place.copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Over the log's id and everything before the checksum itself.
fn header_checksum(log: &LogId, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log), header.get(..HEADER - 4).unwrap_or_default())
}

/// Returns the checksum of a frame's header: the last four bytes of a frame's header.
pub(crate) fn checksum_of(frame: &[u8]) -> u32 {
    let bytes = frame.get(HEADER - 4..HEADER).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

/// What stands at a place of a file.
#[derive(Debug)]
pub(crate) enum Found {
    Frame(Frame),
    /// Nothing was written here, or not all of it.
    Torn,
    /// Something was written here, and is not what it was.
    Damaged(&'static str),
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    /// The checksum of the header, which stands for all of the frame.
    pub(crate) checksum: u32,
    /// Bytes on the disk.
    pub(crate) size: u64,
    /// What it holds, marks taken out.
    pub(crate) data: Vec<u8>,
}

impl Frame {
    /// The frame as it was on the disk, to be written again.
    pub(crate) fn rebuild(&self) -> FrameBuilder {
        let mut builder = FrameBuilder::default();
        builder.push(&self.data);
        builder
    }
}

/// A little-endian reader over bytes that may end anywhere.
pub(crate) struct Fields<'b>(pub(crate) &'b [u8]);

impl<'b> Fields<'b> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

struct Head {
    header: Header,
    length: u64,
    body: u32,
    checksum: u32,
}

fn decode_header(log: &LogId, bytes: &[u8]) -> Option<Head> {
    let expected = header_checksum(log, bytes);
    let mut fields = Fields(bytes);
    let magic: [u8; 4] = fields.array()?;
    let [kind, _, _, _] = fields.array()?;
    let length = fields.u64()?;
    let epoch = fields.u32()?;
    let lsn = fields.u64()?;
    let durable_upto = fields.u64()?;
    let clock = fields.u64()?;
    let body = fields.u32()?;
    let checksum = fields.u32()?;
    let kind = [Kind::Entries, Kind::Kept, Kind::End].into_iter().find(|known| *known as u8 == kind)?;
    let in_range = (1..=MAX_NUMBER).contains(&lsn) && durable_upto <= MAX_NUMBER;
    (magic == MAGIC && checksum == expected && in_range).then_some(Head {
        header: Header { kind, epoch, lsn, durable_upto, clock },
        length,
        body,
        checksum,
    })
}

/// Reads the frames of a file one after the other.
#[derive(Debug)]
pub(crate) struct Frames<'f> {
    window: Window<'f>,
    log: LogId,
    /// Where the next frame begins.
    at: u64,
}

impl<'f> Frames<'f> {
    pub(crate) fn new(file: &'f dyn File, log: &LogId, at: u64, end: u64) -> Self {
        Self { window: Window::new(file, end), log: *log, at }
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame is looked for there.
    pub(crate) fn go_to(&mut self, at: u64) {
        self.at = at;
    }

    /// The next frame, and goes behind it; or what stands in its place, and stays there.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        let end = self.window.end();
        let Some(sector) = self.window.view(self.at, SECTOR)? else {
            return Ok(if self.at < end { Found::Damaged(SHORT) } else { Found::Torn });
        };
        let Some(head) = decode_header(&self.log, sector) else {
            return Ok(match sector.last() {
                Some(0) => Found::Torn,
                _ => Found::Damaged("a frame's header does not match its checksum"),
            });
        };
        let size = size_of(head.length.min(MAX_FRAME));
        let is_inside = self.at.checked_add(size).is_some_and(|behind| behind <= end);
        if head.length < HEADER as u64 || head.length > MAX_FRAME || size > MAX_FRAME || !is_inside {
            return Ok(Found::Damaged("a frame's length is out of range"));
        }
        let Some(bytes) = self.window.view(self.at, size)? else {
            return Ok(Found::Damaged(SHORT));
        };
        let mut marks = bytes.iter().skip(BODY).step_by(SECTOR_BYTES);
        if crc32c::crc32c(bytes.get(HEADER..).unwrap_or_default()) != head.body {
            return Ok(match marks.any(|mark| *mark == 0) {
                true => Found::Torn,
                false => Found::Damaged("a frame does not match its checksum"),
            });
        }
        let mut data = without_marks(bytes, 0);
        data.truncate(usize::try_from(head.length).unwrap_or(usize::MAX));
        data.drain(..HEADER);
        self.at += size;
        Ok(Found::Frame(Frame { header: head.header, checksum: head.checksum, size, data }))
    }

    /// Looks through the sectors from here to the end for headers of frames, whole or not.
    pub(crate) fn headers_behind(&mut self) -> io::Result<Vec<(u64, Header)>> {
        let (mut at, mut found) = (self.at, Vec::new());
        while let Some(sector) = self.window.view(at, SECTOR)? {
            if sector.first().is_some_and(|first| *first != 0)
                && let Some(head) = decode_header(&self.log, sector)
            {
                found.push((at, head.header));
            }
            at += SECTOR;
        }
        Ok(found)
    }

    /// Whether there is nothing but zeros from here to the end.
    pub(crate) fn is_blank(&mut self) -> io::Result<bool> {
        let mut at = self.at;
        while let Some(sector) = self.window.view(at, SECTOR)? {
            if *sector != [0; SECTOR_BYTES] {
                return Ok(false);
            }
            at += SECTOR;
        }
        Ok(true)
    }
}

const SHORT: &str = "the file is shorter than it was";

/// The data among `bytes`, which begin at byte `from` of a sector.
fn without_marks(bytes: &[u8], from: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes.len());
    let (first, rest) = bytes.split_at((SECTOR_BYTES - from).min(bytes.len()));
    for sector in std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)) {
        let room = if data.is_empty() { BODY - from } else { BODY };
        data.extend_from_slice(sector.get(..room.min(sector.len())).unwrap_or_default());
    }
    data
}

/// Reads `length` data bytes that begin at the data byte `position` of the frame at `offset`.
pub(crate) fn read_part(file: &dyn File, offset: u64, position: u64, length: u32) -> io::Result<Vec<u8>> {
    let begin = physical(position);
    let end = physical(position + u64::from(length).max(1) - 1) + 1;
    let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(0)];
    let count = file.read_full_at(&mut bytes, offset + begin)?;
    bytes.truncate(count);
    let from = usize::try_from(begin % SECTOR).unwrap_or(0);
    Ok(without_marks(&bytes, from))
}
