//! The files that frames are in: segments of the log, and checkpoints.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::format::frame::{Fields, LogId, MARK, MAX_NUMBER, SECTOR, SECTOR_BYTES};
use crate::format::names::segment_name;
use crate::format::version::{FORMAT, check_format};
use lessor_vfs::File;

const MAGIC: [u8; 8] = *b"LESSORsg";
/// Frames begin behind the header's sector.
pub(crate) const FIRST_FRAME: u64 = SECTOR;
/// The length of the shortest segment, in bytes.
pub(crate) const MIN_SEGMENT: u64 = 8 * SECTOR;

/// The first sector of a segment or a checkpoint. A segment that was made ahead has none until it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    /// Of all frames in it.
    pub(crate) epoch: u32,
    /// Of the first frame in it. In a checkpoint: of the first frame that the checkpoint does not stand for.
    pub(crate) first_lsn: u64,
    /// Of the frame before the first, which is the last that counts of the segment before; 0 if there is none.
    pub(crate) former: u32,
    /// Length of the file. 0 in a checkpoint, which grows.
    pub(crate) length: u64,
}

/// What a file begins with.
#[derive(Debug)]
pub(crate) enum Begin {
    Header(SegmentHeader),
    /// The header was never written, or not whole.
    None,
    Damaged(&'static str),
    Incompatible(String),
}

impl SegmentHeader {
    pub(crate) fn encode(&self, log: &LogId) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        // Features that a reader has to know; there are none yet.
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(log);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_lsn.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.former.to_le_bytes());
        out.resize(SECTOR_BYTES - 5, 0);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.push(MARK);
        out
    }

    fn decode(log: &LogId, bytes: &[u8]) -> Begin {
        let Some((&mark, body)) = bytes.split_last() else { return Begin::None };
        if mark == 0 {
            return Begin::None;
        }
        let Some((body, checksum)) = body.split_last_chunk::<4>() else { return Begin::None };
        if mark != MARK || crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Begin::Damaged("the file's header does not match its checksum");
        }
        let mut fields = Fields(body);
        let mut read = || {
            let (magic, format, features) = (fields.array::<8>()?, fields.u32()?, fields.u32()?);
            let id: LogId = fields.array()?;
            let (number, first_lsn, length) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let (epoch, former) = (fields.u32()?, fields.u32()?);
            Some((magic, format, features, id, Self { number, epoch, first_lsn, former, length }))
        };
        match read() {
            Some((MAGIC, format, features, id, header)) => match check_format("the file", format, features) {
                Err(reason) => Begin::Incompatible(reason),
                Ok(()) if id != *log => Begin::Damaged("the file belongs to another log"),
                Ok(()) if !header.in_range() => {
                    Begin::Damaged("a number in the file's header is out of range")
                }
                Ok(()) => Begin::Header(header),
            },
            _ => Begin::Damaged("the file's header is none of a log"),
        }
    }

    fn in_range(&self) -> bool {
        let numbers = [self.number, self.first_lsn, self.length];
        self.first_lsn > 0 && numbers.iter().all(|number| *number <= MAX_NUMBER)
    }

    pub(crate) fn read(file: &dyn File, log: &LogId) -> io::Result<Begin> {
        let mut bytes = [0; SECTOR_BYTES];
        let count = file.read_full_at(&mut bytes, 0)?;
        Ok(if count < bytes.len() { Begin::None } else { Self::decode(log, &bytes) })
    }
}

/// The file of a segment that has its header, and where each of its frames begins.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_lsn: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn File>,
    /// In sectors; the first is that of the frame `first_lsn`.
    starts: RwLock<Vec<u32>>,
    /// Locked while a sync is under way.
    has_failed: Mutex<bool>,
}

impl Segment {
    /// Begins a segment: writes its header to a file of zeros. The header is not synced.
    pub(crate) fn begin(file: Arc<dyn File>, header: &SegmentHeader, log: &LogId) -> io::Result<Arc<Self>> {
        file.write_all_at(&header.encode(log), 0)?;
        Ok(Self::found(header, file))
    }

    /// A segment whose header was read from its file.
    pub(crate) fn found(header: &SegmentHeader, file: Arc<dyn File>) -> Arc<Self> {
        let SegmentHeader { number, first_lsn, length, .. } = *header;
        let (starts, has_failed) = (RwLock::default(), Mutex::new(false));
        Arc::new(Self { number, first_lsn, length, file, starts, has_failed })
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }

    /// Makes what was written so far survive a power loss. Once that has failed, it always fails: the disk may have given up what was to
    /// be synced, and a later sync of the file would not report it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock();
        if *has_failed {
            return Err(io::Error::other("it could not be synced before"));
        }
        self.file.sync().inspect_err(|_| *has_failed = true)
    }

    /// Syncs the segment's header, and whatever else was written so far.
    pub(crate) fn synced(&self) -> io::Result<SyncedSegment> {
        self.sync()?;
        Ok(SyncedSegment { number: self.number, first_lsn: self.first_lsn })
    }

    /// Writes the header that was found once more, and syncs it: reading it does not prove that it is on the disk. It may have been part
    /// of a sync that failed.
    pub(crate) fn rewritten(&self) -> io::Result<SyncedSegment> {
        let mut header = [0; SECTOR_BYTES];
        self.file.read_full_at(&mut header, 0)?;
        self.file.write_all_at(&header, 0)?;
        self.synced()
    }

    /// Notes where the next frame begins.
    pub(crate) fn begin_frame(&self, offset: u64) {
        self.starts.write().push(u32::try_from(offset / SECTOR).unwrap_or(u32::MAX));
    }

    /// Where the frame begins, if it is in this segment.
    pub(crate) fn offset_of(&self, lsn: u64) -> Option<u64> {
        let place = usize::try_from(lsn.checked_sub(self.first_lsn)?).ok()?;
        self.starts.read().get(place).map(|sector| u64::from(*sector) * SECTOR)
    }
}

/// A segment whose header is on the disk for certain. The superblock names no other as the first one.
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
