//! The superblock: what must be known before the log is read. Two copies of one small block are
//! written one after the other.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use crate::format::checkpoint::SyncedCheckpoint;
use crate::format::frame::{Fields, LogId, MAX_NUMBER, SECTOR_BYTES};
use crate::format::names::{SUPERBLOCK, SUPERBLOCK_NEW};
use crate::format::segment::SyncedSegment;
use crate::format::version::{FORMAT, check_format};
use crate::problem::Problem;

const MAGIC: [u8; 8] = *b"LESSORsb";
/// The offsets of the copies, which are on different pages.
const COPIES: [u64; 2] = [0, 4096];
const LENGTH: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) log: LogId,
    /// Incremented with every update.
    pub(crate) generation: u64,
    /// The epoch of the last opening.
    pub(crate) epoch: u32,
    checkpoint: u64,
    first_segment: u64,
    /// Every frame up to this LSN is synced.
    pub(crate) synced: u64,
    /// The end of the clock reservation, in µs since 1970.
    pub(crate) clock: u64,
    /// In a backup that was not opened yet: how far the clock of the original was ahead of the wall
    /// clock, in µs. Otherwise 0.
    pub(crate) lead: u64,
    /// The highest token of any record that was purged.
    pub(crate) purged: u64,
    /// The number of the segment that was truncated to its used length by a close; 0 if there is
    /// none.
    pub(crate) trimmed: u64,
    pub(crate) is_clean: bool,
}

impl Superblock {
    /// Returns the superblock of a log without frames.
    pub(crate) fn first(log: LogId) -> Self {
        Self {
            log,
            generation: 1,
            epoch: 0,
            checkpoint: 0,
            first_segment: 0,
            synced: 0,
            clock: 0,
            lead: 0,
            purged: 0,
            trimmed: 0,
            is_clean: true,
        }
    }

    /// Returns the number of the current checkpoint; 0 if there is none.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// Returns the number of the first segment that counts; 0 if there is none.
    pub(crate) fn first_segment(&self) -> u64 {
        self.first_segment
    }

    /// Names a checkpoint, which is on the disk.
    pub(crate) fn name_checkpoint(&mut self, checkpoint: &SyncedCheckpoint) {
        self.checkpoint = checkpoint.number();
    }

    /// Names the first segment, whose header is on the disk.
    pub(crate) fn name_first_segment(&mut self, segment: &SyncedSegment) {
        self.first_segment = segment.number();
    }

    fn in_range(&self) -> bool {
        let Self { generation, first_segment, synced, trimmed, checkpoint, .. } = *self;
        let numbers = [generation, first_segment, synced, trimmed];
        numbers.iter().all(|number| *number <= MAX_NUMBER) && checkpoint < u32::MAX.into()
    }
}

/// The file of the superblock.
#[derive(Debug)]
pub(crate) struct SuperblockFile {
    file: Arc<dyn File>,
    /// The copy that is written first: the older one.
    older: usize,
    block: Superblock,
    has_failed: bool,
}

impl SuperblockFile {
    /// Creates the superblock of a new log, durably.
    pub(crate) fn create(vfs: &dyn Vfs, block: Superblock) -> Result<Self, Problem> {
        let failed = |doing| move |error| Problem::io(vfs, SUPERBLOCK_NEW, doing, error);
        let file = vfs.create(SUPERBLOCK_NEW).map_err(failed("making"))?;
        file.write_all_at(&vec![0; LENGTH], 0).map_err(failed("writing"))?;
        let mut file = Self { file, older: 0, block, has_failed: false };
        file.write().map_err(failed("writing"))?;
        vfs.rename(SUPERBLOCK_NEW, SUPERBLOCK).map_err(failed("renaming"))?;
        vfs.sync_folder().map_err(failed("syncing the folder of"))?;
        Ok(file)
    }

    /// Opens the superblock. Returns `None` if there is none.
    pub(crate) fn open(vfs: &dyn Vfs) -> Result<Option<Self>, Problem> {
        let file = match vfs.open(SUPERBLOCK) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Problem::io(vfs, SUPERBLOCK, "opening", error)),
        };
        let mut copies = [None, None];
        for (copy, offset) in copies.iter_mut().zip(COPIES) {
            let mut bytes = [0; SECTOR_BYTES];
            file.read_full_at(&mut bytes, offset)
                .map_err(|error| Problem::io(vfs, SUPERBLOCK, "reading", error))?;
            *copy = decode(&bytes).map_err(|reason| Problem::Incompatible { reason })?;
        }
        let generation = |copy: &Option<Superblock>| copy.map_or(0, |block| block.generation);
        let [first, second] = &copies;
        let (newest, older) = if generation(first) >= generation(second) { (first, 1) } else { (second, 0) };
        match newest {
            Some(block) => Ok(Some(Self { file, older, block: *block, has_failed: false })),
            None => Err(Problem::corrupt(
                vfs,
                SUPERBLOCK,
                0,
                "neither copy of the superblock matches its checksum",
            )),
        }
    }

    pub(crate) fn block(&self) -> &Superblock {
        &self.block
    }

    /// Changes the block and writes both copies, durably. After one failure every call fails,
    /// because it is unknown which copy is whole. The other thread may call this before the log
    /// stops all writes.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Superblock)) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier write of the superblock failed"));
        }
        let before = self.block;
        change(&mut self.block);
        self.block.generation += 1;
        self.write().inspect_err(|_| {
            self.block = before;
            self.has_failed = true;
        })
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = encode(&self.block);
        for copy in [self.older, 1 - self.older] {
            let offset = COPIES.get(copy).copied().unwrap_or_default();
            self.file.write_all_at(&bytes, offset)?;
            self.file.sync()?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a log's id is not secret, and drawn once per log")]
/// Draws the id of a new log.
pub(crate) fn random_id() -> Result<LogId, Problem> {
    let mut id = LogId::default();
    let failed = |error: getrandom::Error| Problem::Io {
        place: "the system's random number generator".to_owned(),
        doing: "reading",
        error: error.into(),
    };
    getrandom::fill(&mut id).map_err(failed)?;
    Ok(id)
}

fn encode(block: &Superblock) -> Vec<u8> {
    let mut out = Vec::with_capacity(SECTOR_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    // Required features. There are none yet.
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&block.log);
    let Superblock { generation, checkpoint, first_segment, synced, clock, lead, trimmed, purged, .. } =
        *block;
    for number in [generation, checkpoint, first_segment, synced, clock, lead, trimmed, purged] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&block.epoch.to_le_bytes());
    out.extend_from_slice(&u32::from(block.is_clean).to_le_bytes());
    out.resize(SECTOR_BYTES - 4, 0);
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Decodes one copy. Returns `None` if the copy was never written, is incomplete, or is damaged.
fn decode(bytes: &[u8]) -> Result<Option<Superblock>, String> {
    let Some((body, checksum)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Ok(None);
    }
    let mut fields = Fields(body);
    let (Some(magic), Some(format), Some(features)) = (fields.array::<8>(), fields.u32(), fields.u32())
    else {
        return Ok(None);
    };
    if magic != MAGIC {
        return Ok(None);
    }
    check_format("the log", format, features)?;
    let mut read = || {
        let log = fields.array()?;
        let mut number = || fields.u64();
        let (generation, checkpoint, first_segment) = (number()?, number()?, number()?);
        let (synced, clock, lead) = (number()?, number()?, number()?);
        let (trimmed, purged) = (number()?, number()?);
        let (epoch, is_clean) = (fields.u32()?, fields.u32()? != 0);
        Some(Superblock {
            log,
            generation,
            epoch,
            checkpoint,
            first_segment,
            synced,
            clock,
            lead,
            trimmed,
            purged,
            is_clean,
        })
    };
    Ok(read().filter(Superblock::in_range))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use lessor_simdisk::{CallKind, Fault, SimDisk, When};

    /// The first copy was written and the second one half. Before the log stopped all writes,
    /// another thread began to overwrite the first one, which was whole.
    #[test]
    fn p5_a_superblock_that_could_not_be_written_is_not_written_again() {
        let disk = SimDisk::new();
        let mut file = SuperblockFile::create(&disk, Superblock::first([7; 16])).unwrap();
        let second = When::nth(CallKind::Write, disk.calls_of(CallKind::Write) + 2);
        disk.fail(second.from_then_on(), Fault::HalfThenIo);
        assert!(file.update(|block| block.clock = 1).is_err());
        assert!(file.update(|block| block.clock = 2).is_err());
        disk.clear_faults();
        let found = SuperblockFile::open(&disk).unwrap().unwrap();
        assert_eq!(found.block().clock, 1);
    }
}
