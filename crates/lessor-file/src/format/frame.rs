//! FrameReader: the units that are written, and survive a power loss, as a whole. A frame consists
//! of a header, entries, and a mark at the end of each sector.
//!
//! A frame occupies whole sectors that held zeros before. The last byte of each of its sectors is
//! the [`MARK`], which is not zero. Sectors are written front to back. A sector that a power loss
//! left unwritten or half written therefore has no mark. If all sectors of a frame have their
//! marks, the frame was written whole, and a wrong checksum means that it was damaged later. This
//! distinguishes a torn tail from damage.

use std::io;

use lessor_vfs::File;

use crate::format::window::Window;

pub(crate) const SECTOR: u64 = SECTOR_BYTES as u64;
pub(crate) const SECTOR_BYTES: usize = 512;
/// The number of data bytes in a sector. The mark is one more byte.
const BODY: usize = 511;
/// The last byte of every written sector.
pub(crate) const MARK: u8 = 0xD7;
pub(crate) const HEADER_BYTES: usize = 52;
const MAGIC: [u8; 4] = *b"LSRf";
/// The size of the longest frame in bytes, including its marks.
pub(crate) const MAX_FRAME: u64 = 256 << 20;

/// The highest number of a frame, a file or a change. Numbers can be incremented without an
/// overflow check.
pub(crate) const MAX_NUMBER: u64 = 1 << 60;

/// The random id of a log. Files of other logs are recognized by it.
pub(crate) type LogId = [u8; 16];

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Records of the log, all with the LSN of the frame.
    Log = 1,
    /// Records of a checkpoint, each with its own LSN.
    Checkpoint = 2,
    /// The end of a checkpoint, with the number of its records.
    CheckpointEnd = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// The epoch of the opening that wrote the frame. Each opening has a higher one.
    pub(crate) epoch: u32,
    /// The log sequence number: 1 for the first frame of a log, one more for each next frame.
    pub(crate) lsn: u64,
    /// All frames up to this LSN had been synced when this frame was written.
    pub(crate) durable_upto: u64,
    /// The end of the clock reservation, in µs since 1970.
    pub(crate) clock: u64,
}

/// Builds a frame in its layout on the disk.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER_BYTES] }
    }
}

impl FrameBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Returns the position of the next byte in the data, which excludes marks.
    pub(crate) fn position(&self) -> u64 {
        let marks = self.bytes.len() / SECTOR_BYTES;
        (self.bytes.len() - marks) as u64
    }

    /// Returns the size of the frame on the disk, in bytes, after `more` bytes of data are added.
    pub(crate) fn size_with(&self, more: usize) -> u64 {
        size_of(self.position() + more as u64)
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let space = BODY - self.bytes.len() % SECTOR_BYTES;
            let (now, later) = data.split_at(space.min(data.len()));
            self.bytes.extend_from_slice(now);
            if self.bytes.len() % SECTOR_BYTES == BODY {
                self.bytes.push(MARK);
            }
            data = later;
        }
    }

    /// Finishes the frame and returns its bytes.
    pub(crate) fn seal(&mut self, log: &LogId, header: FrameHeader) -> &[u8] {
        let length = self.position();
        let whole = usize::try_from(size_of(length)).unwrap_or(usize::MAX);
        if self.bytes.len() < whole {
            self.bytes.resize(whole - 1, 0);
            self.bytes.push(MARK);
        }
        let body = crc32c::crc32c(self.bytes.get(HEADER_BYTES..).unwrap_or_default());
        let head = encode_header(log, header, length, body);
        if let Some(place) = self.bytes.get_mut(..HEADER_BYTES) {
            place.copy_from_slice(&head);
        }
        &self.bytes
    }

    /// Empties the builder. Keeps its memory unless it is large.
    pub(crate) fn reset(&mut self) {
        const KEEP: usize = 8 << 20;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
    }
}

/// Returns the size on the disk, in bytes, of a frame with `length` bytes of data including the
/// header.
fn size_of(length: u64) -> u64 {
    length.div_ceil(BODY as u64) * SECTOR
}

/// Returns the offset of a data byte from the beginning of its frame.
pub(crate) fn physical(position: u64) -> u64 {
    position + position / BODY as u64
}

fn encode_header(log: &LogId, header: FrameHeader, length: u64, body: u32) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
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
    let (_, place) = out.split_at_mut(HEADER_BYTES - 4);
    place.copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Returns the checksum of the log's id and of the header up to the checksum itself.
fn header_checksum(log: &LogId, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log), header.get(..HEADER_BYTES - 4).unwrap_or_default())
}

/// Returns the checksum in the header of an encoded frame.
pub(crate) fn checksum_of(frame: &[u8]) -> u32 {
    let bytes = frame.get(HEADER_BYTES - 4..HEADER_BYTES).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

/// The result of reading a frame.
#[derive(Debug)]
pub(crate) enum FrameRead {
    Frame(Frame),
    /// No frame was written here, or not all of it.
    Torn,
    /// A frame or other bytes were written here and have changed since.
    Damaged(&'static str),
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    /// The checksum of the header, which covers the whole frame.
    pub(crate) checksum: u32,
    /// The size on the disk in bytes.
    pub(crate) size: u64,
    /// The data without the header and the marks.
    pub(crate) data: Vec<u8>,
}

impl Frame {
    /// Returns a builder with the data of this frame, for writing it again.
    pub(crate) fn rebuild(&self) -> FrameBuilder {
        let mut builder = FrameBuilder::default();
        builder.push(&self.data);
        builder
    }
}

/// Reads little-endian fields from bytes that may be too short.
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

struct DecodedHeader {
    header: FrameHeader,
    length: u64,
    body: u32,
    checksum: u32,
}

fn decode_header(log: &LogId, bytes: &[u8]) -> Option<DecodedHeader> {
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
    let kind = [FrameKind::Log, FrameKind::Checkpoint, FrameKind::CheckpointEnd]
        .into_iter()
        .find(|known| *known as u8 == kind)?;
    let in_range = (1..=MAX_NUMBER).contains(&lsn) && durable_upto <= MAX_NUMBER;
    (magic == MAGIC && checksum == expected && in_range).then_some(DecodedHeader {
        header: FrameHeader { kind, epoch, lsn, durable_upto, clock },
        length,
        body,
        checksum,
    })
}

/// Reads the frames of a file in sequence.
#[derive(Debug)]
pub(crate) struct FrameReader<'f> {
    window: Window<'f>,
    log: LogId,
    /// The offset of the next frame.
    at: u64,
}

impl<'f> FrameReader<'f> {
    pub(crate) fn new(file: &'f dyn File, log: &LogId, at: u64, end: u64) -> Self {
        Self { window: Window::new(file, end), log: *log, at }
    }

    /// Returns the offset of the next frame.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Continues at the offset `at`.
    pub(crate) fn go_to(&mut self, at: u64) {
        self.at = at;
    }

    /// Reads the next frame and moves past it. Does not move if there is no whole frame.
    pub(crate) fn next(&mut self) -> io::Result<FrameRead> {
        let end = self.window.end();
        let Some(sector) = self.window.view(self.at, SECTOR)? else {
            return Ok(if self.at < end { FrameRead::Damaged(SHORT) } else { FrameRead::Torn });
        };
        let Some(head) = decode_header(&self.log, sector) else {
            return Ok(match sector.last() {
                Some(0) => FrameRead::Torn,
                _ => FrameRead::Damaged("a frame's header does not match its checksum"),
            });
        };
        let size = size_of(head.length.min(MAX_FRAME));
        let is_inside = self.at.checked_add(size).is_some_and(|behind| behind <= end);
        if head.length < HEADER_BYTES as u64 || head.length > MAX_FRAME || size > MAX_FRAME || !is_inside {
            return Ok(FrameRead::Damaged("a frame's length is out of range"));
        }
        let Some(bytes) = self.window.view(self.at, size)? else {
            return Ok(FrameRead::Damaged(SHORT));
        };
        let mut marks = bytes.iter().skip(BODY).step_by(SECTOR_BYTES);
        if crc32c::crc32c(bytes.get(HEADER_BYTES..).unwrap_or_default()) != head.body {
            return Ok(match marks.any(|mark| *mark == 0) {
                true => FrameRead::Torn,
                false => FrameRead::Damaged("a frame does not match its checksum"),
            });
        }
        let mut data = without_marks(bytes, 0);
        data.truncate(usize::try_from(head.length).unwrap_or(usize::MAX));
        data.drain(..HEADER_BYTES);
        self.at += size;
        Ok(FrameRead::Frame(Frame { header: head.header, checksum: head.checksum, size, data }))
    }

    /// Searches all sectors from here to the end for headers of frames. The frames need not be
    /// whole.
    pub(crate) fn headers_behind(&mut self) -> io::Result<Vec<(u64, FrameHeader)>> {
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

    /// Returns whether all bytes from here to the end are zero.
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

const SHORT: &str = "the file was shortened";

/// Removes the marks from `bytes`, which begin at byte `from` of a sector.
fn without_marks(bytes: &[u8], from: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes.len());
    let (first, rest) = bytes.split_at((SECTOR_BYTES - from).min(bytes.len()));
    for sector in std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)) {
        let space = if data.is_empty() { BODY - from } else { BODY };
        data.extend_from_slice(sector.get(..space.min(sector.len())).unwrap_or_default());
    }
    data
}

/// Reads `length` data bytes from the data position `position` of the frame at `offset`.
pub(crate) fn read_part(file: &dyn File, offset: u64, position: u64, length: u32) -> io::Result<Vec<u8>> {
    let begin = physical(position);
    let end = physical(position + u64::from(length).max(1) - 1) + 1;
    let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(0)];
    let count = file.read_full_at(&mut bytes, offset + begin)?;
    bytes.truncate(count);
    let from = usize::try_from(begin % SECTOR).unwrap_or(0);
    Ok(without_marks(&bytes, from))
}
