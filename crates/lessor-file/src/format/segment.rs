//! Segments: the files that the frames of the log are in. Checkpoints have the same header.

use std::io;
use std::sync::Arc;

use lessor_vfs::File;
use parking_lot::{Mutex, RwLock};

use crate::format::frame::{Fields, LogId, MARK, MAX_NUMBER, SECTOR, SECTOR_BYTES};
use crate::format::names::segment_name;
use crate::format::version::{FORMAT, check_format};

const MAGIC: [u8; 8] = *b"LESSORsg";
/// The offset of the first frame, after the sector of the header.
pub(crate) const FIRST_FRAME: u64 = SECTOR;
/// The length of the shortest segment, in bytes.
pub(crate) const MIN_SEGMENT: u64 = 8 * SECTOR;

/// The first sector of a segment or a checkpoint. A segment that was made ahead has no header until
/// it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    /// The epoch of all frames in the file.
    pub(crate) epoch: u32,
    /// The LSN of the first frame in the file. In a checkpoint: the LSN of the first frame that the
    /// checkpoint does not replace.
    pub(crate) first_lsn: u64,
    /// The header checksum of the frame before the first one, which is the last frame of the
    /// previous segment that counts. 0 if there is none.
    pub(crate) previous_checksum: u32,
    /// The length of the file in bytes. 0 in a checkpoint, which grows.
    pub(crate) length: u64,
}

/// The state of the header of a file.
#[derive(Debug)]
pub(crate) enum HeaderState {
    Valid(SegmentHeader),
    /// The header was never written, or not completely.
    Missing,
    Damaged(&'static str),
    Incompatible(String),
}

impl SegmentHeader {
    pub(crate) fn encode(&self, log: &LogId) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        // Required features. There are none yet.
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(log);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_lsn.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.previous_checksum.to_le_bytes());
        out.resize(SECTOR_BYTES - 5, 0);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.push(MARK);
        out
    }

    fn decode(log: &LogId, bytes: &[u8]) -> HeaderState {
        let Some((&mark, body)) = bytes.split_last() else { return HeaderState::Missing };
        if mark == 0 {
            return HeaderState::Missing;
        }
        let Some((body, checksum)) = body.split_last_chunk::<4>() else { return HeaderState::Missing };
        if mark != MARK || crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return HeaderState::Damaged("the file's header does not match its checksum");
        }
        let mut fields = Fields(body);
        let mut read = || {
            let (magic, format, features) = (fields.array::<8>()?, fields.u32()?, fields.u32()?);
            let id: LogId = fields.array()?;
            let (number, first_lsn, length) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let (epoch, previous_checksum) = (fields.u32()?, fields.u32()?);
            Some((magic, format, features, id, Self { number, epoch, first_lsn, previous_checksum, length }))
        };
        match read() {
            Some((MAGIC, format, features, id, header)) => match check_format("the file", format, features) {
                Err(reason) => HeaderState::Incompatible(reason),
                Ok(()) if id != *log => HeaderState::Damaged("the file belongs to another log"),
                Ok(()) if !header.in_range() => {
                    HeaderState::Damaged("a number in the file's header is out of range")
                }
                Ok(()) => HeaderState::Valid(header),
            },
            _ => HeaderState::Damaged("the file's header is not that of a log file"),
        }
    }

    fn in_range(&self) -> bool {
        let numbers = [self.number, self.first_lsn, self.length];
        self.first_lsn > 0 && numbers.iter().all(|number| *number <= MAX_NUMBER)
    }

    pub(crate) fn read(file: &dyn File, log: &LogId) -> io::Result<HeaderState> {
        let mut bytes = [0; SECTOR_BYTES];
        let count = file.read_full_at(&mut bytes, 0)?;
        Ok(if count < bytes.len() { HeaderState::Missing } else { Self::decode(log, &bytes) })
    }
}

/// A segment with a header, and the offsets of its frames.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_lsn: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn File>,
    /// The sectors at which frames begin. The first one belongs to the frame `first_lsn`.
    starts: RwLock<Vec<u32>>,
    /// Locked during a sync.
    has_failed: Mutex<bool>,
}

impl Segment {
    /// Writes the header to a file of zeros, without a sync.
    pub(crate) fn create(file: Arc<dyn File>, header: &SegmentHeader, log: &LogId) -> io::Result<Arc<Self>> {
        file.write_all_at(&header.encode(log), 0)?;
        Ok(Self::open(header, file))
    }

    /// Creates the segment of a file whose header was read.
    pub(crate) fn open(header: &SegmentHeader, file: Arc<dyn File>) -> Arc<Self> {
        let SegmentHeader { number, first_lsn, length, .. } = *header;
        let (starts, has_failed) = (RwLock::default(), Mutex::new(false));
        Arc::new(Self { number, first_lsn, length, file, starts, has_failed })
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }

    /// Makes all writes so far survive a power loss. After one failure every call fails: the
    /// operating system may have dropped the unsynced writes, and a later sync of the file would
    /// not report that.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock();
        if *has_failed {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        self.file.sync().inspect_err(|_| *has_failed = true)
    }

    /// Syncs the segment, and returns the proof that its header is on the disk.
    pub(crate) fn sync_header(&self) -> io::Result<SyncedSegment> {
        self.sync()?;
        Ok(SyncedSegment { number: self.number, first_lsn: self.first_lsn })
    }

    /// Writes the header again and syncs it. Reading a header does not prove that it is on the
    /// disk, because its sync may have failed.
    pub(crate) fn rewrite_header(&self) -> io::Result<SyncedSegment> {
        let mut header = [0; SECTOR_BYTES];
        self.file.read_full_at(&mut header, 0)?;
        self.file.write_all_at(&header, 0)?;
        self.sync_header()
    }

    /// Records the offset of the next frame.
    pub(crate) fn push_frame(&self, offset: u64) {
        self.starts.write().push(u32::try_from(offset / SECTOR).unwrap_or(u32::MAX));
    }

    /// Returns the offset of a frame, if it is in this segment.
    pub(crate) fn offset_of(&self, lsn: u64) -> Option<u64> {
        let place = usize::try_from(lsn.checked_sub(self.first_lsn)?).ok()?;
        self.starts.read().get(place).map(|sector| u64::from(*sector) * SECTOR)
    }
}

/// Proof that the header of a segment is on the disk. The superblock names only such segments as
/// the first one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncedSegment {
    number: u64,
    first_lsn: u64,
}

impl SyncedSegment {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn first_lsn(&self) -> u64 {
        self.first_lsn
    }
}
