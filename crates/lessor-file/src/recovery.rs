//! Opening a log. All of the log is read, the frames that may not be on the disk are written again,
//! and only then can the first call be answered.
//!
//! An opening changes no existing frame. It continues in a new segment. The header of that segment
//! states the first frame that the segment replaces: frames of the previous segment from that LSN
//! on, whole or torn, no longer count. An interrupted opening leaves a log that the next opening
//! reads in the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use foldhash::fast::FixedState;
use lessor_core::store::Notifier;
use lessor_core::{DecodeError, Record, StoreError};

use lessor_vfs::{Lock, Vfs};
use parking_lot::Mutex;

use crate::format::entry::Entry;
use crate::format::names::{SUPERBLOCK, SUPERBLOCK_NEW, segment_name, torn_name};
use crate::format::segment::{Segment, SyncedSegment};
use crate::format::superblock::{Superblock, SuperblockFile, random_id};
use crate::image::{self, Image, OnProgress, RecordSink};
use crate::index::Index;
use crate::index::location::Location;
use crate::index::shard::Slot;
use crate::log::Log;
use crate::log::catalog::{Catalog, Files};
use crate::log::clock::{ClockReservation, ClockSource};
use crate::log::close_state::CloseState;
use crate::log::committer::Committer;
use crate::log::lease_space::{LeaseSpace, LiveLeases};
use crate::log::poison::Poison;
use crate::log::reader::Reader;
use crate::log::signals::Signals;
use crate::log::staging::Staging;
use crate::problem::Problem;
use crate::process::Process;
use crate::quarantine;
use crate::settings::Settings;
use crate::writer;

mod segment;

/// The state that is collected while a log is read.
struct Recovered {
    index: Index,
    /// The leases in progress, by the hash of their keys. If two hashes are equal, slightly less
    /// space is reserved.
    leases: HashMap<u64, LeaseSpace, FixedState>,
}

impl RecordSink for Recovered {
    fn reserve(&mut self, records: u64) {
        self.index.reserve(records);
    }

    fn record(&mut self, lsn: u64, location: Location, entry: &Entry<'_>) -> Result<(), DecodeError> {
        let outline = Record::header(entry.record)?;
        let (token, purge_at, lease_until) = (outline.token, outline.purge_at(), outline.lease_until());
        let slot = Slot { lsn, location, token: token.as_u64(), purge_at, record: None, bucket: 0 };
        if self.index.recover(entry.key.clone(), slot) && (lease_until.is_some() || !self.leases.is_empty()) {
            let hash = self.index.hash(&entry.key);
            match lease_until {
                None => drop(self.leases.remove(&hash)),
                Some(until) => {
                    let lease = LeaseSpace::new(&entry.key, location.length, until.as_micros());
                    self.leases.insert(hash, lease);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    settings: Settings,
    source: ClockSource,
    lock: Lock,
    on_progress: OnProgress<'_>,
) -> Result<(Arc<Log>, JoinHandle<()>), StoreError> {
    let index = Index::new(settings.cache, source.wall().as_micros());
    let mut recovered = Recovered { index, leases: HashMap::default() };
    let image = match image::read(&*vfs, &mut recovered, on_progress)? {
        Some(image) => image,
        None => create(&*vfs)?,
    };
    Ok(begin(vfs, settings, source, lock, recovered, image)?)
}

/// Creates a log without frames.
fn create(vfs: &dyn Vfs) -> Result<Image, Problem> {
    // The file is left from an interrupted creation.
    for name in vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))? {
        if name == SUPERBLOCK_NEW {
            vfs.remove(&name).map_err(|error| Problem::io(vfs, &name, "removing", error))?;
        }
    }
    Ok(Image::of(SuperblockFile::create(vfs, Superblock::first(random_id()?))?))
}

fn begin(
    vfs: Arc<dyn Vfs>,
    settings: Settings,
    source: ClockSource,
    lock: Lock,
    recovered: Recovered,
    mut image: Image,
) -> Result<(Arc<Log>, JoinHandle<()>), Problem> {
    quarantine_torn_tail(&*vfs, &image);
    if !image.stale_files.is_empty() {
        // The superblock that no longer names the stale files may not be on the disk yet.
        let failed = |error| Problem::io(&*vfs, SUPERBLOCK, "writing", error);
        image.superblock.update(|_| {}).map_err(failed)?;
    }
    let spare = segment_name(image.next_segment);
    let has_spare = image.stale_files.contains(&spare);
    for name in image.stale_files.iter().filter(|name| **name != spare) {
        vfs.remove(name).map_err(|error| Problem::io(&*vfs, name, "removing", error))?;
    }
    vfs.sync_folder().map_err(|error| Problem::io(&*vfs, "", "syncing", error))?;
    // An existing folder is published as well: the process that created it may have been killed
    // before it synced it.
    vfs.publish().map_err(|error| Problem::io(&*vfs, "", "syncing the folders above", error))?;

    let block = *image.superblock.block();
    let epoch = image.epoch.saturating_add(1);
    let wall = source.wall();
    let reached = match block.lead {
        // A closed log has reached its clock. For a killed log that is not known.
        0 if block.is_clean => image.clock,
        0 => 0,
        // A backup starts as far ahead of the wall clock as the original was.
        lead => wall.as_micros().saturating_add(lead),
    };
    let time = ClockReservation::starting_at(source, image.clock, reached);
    let clock = time.next_reservation();
    let mut live = LiveLeases::default();
    live.forget_lapsed(time.now().0.as_micros());
    recovered.leases.into_values().for_each(|lease| live.add(lease));

    // Without a proven frame, the last segment's header is not proven either, and the next segment
    // relies on it.
    if let Some(last) = image.segments.last().filter(|last| image.proven < last.first_lsn) {
        rewrite_header(&*vfs, last)?;
    }
    let opening =
        segment::Opening { vfs: &*vfs, settings: &settings, epoch, clock, has_spare, leases: live.total() };
    let (writer, begun) = opening.begin(&mut image)?;
    let number = image.next_segment;
    let is_own = begun.is_some();
    // An interrupted opening may have left segments that the superblock does not name.
    let first = match image.segments.first() {
        _ if block.first_segment() > 0 => None,
        Some(first) => Some(rewrite_header(&*vfs, first)?),
        None => begun,
    };
    let update = |block: &mut Superblock| {
        if is_own {
            block.epoch = epoch;
        }
        block.synced = image.end;
        block.clock = block.clock.max(clock);
        block.lead = 0;
        block.is_clean = false;
        if let Some(first) = &first {
            block.name_first_segment(first);
        }
    };
    let failed = |error| Problem::io(&*vfs, SUPERBLOCK, "writing", error);
    image.superblock.update(update).map_err(failed)?;
    time.reserve_until(clock);

    let is_crowded = is_crowded(&image);
    let mut segments = image.segments;
    if is_own {
        segments.push(Arc::clone(&writer.segment));
    }
    let checkpoints = image.checkpoint.into_iter().collect();
    let log = Arc::new(Log {
        vfs,
        settings,
        id: block.log,
        epoch,
        process: Process::this(),
        clock: time,
        index: recovered.index,
        token_floor: AtomicU64::new(block.purged),
        catalog: Catalog::new(Files { segments, checkpoints }, number, is_crowded),
        committer: Committer::new(Staging::new(image.end + 1, writer, live), image.end),
        superblock: Mutex::new(image.superblock),
        poison: Poison::default(),
        signals: Signals::default(),
        close_state: CloseState::default(),
        reader: Reader::default(),
        notifier: Notifier::new(),
        lock: Mutex::new(Some(lock)),
    });
    let writer = writer::start(&log, number + u64::from(is_own)).map_err(|error| Problem::Io {
        place: "the log's threads".to_owned(),
        doing: "starting",
        error,
    })?;
    Ok((log, writer))
}

/// Returns whether killed processes left so many segments that the log should be compacted
/// regardless of its size. The limit is higher for a large log, because its compaction takes
/// longer.
fn is_crowded(image: &Image) -> bool {
    const SMALL: u64 = 4 << 20;
    let length: u64 = image.segments.iter().map(|segment| segment.length).sum();
    let held = image.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.length);
    image.segments.len() >= if length + held <= SMALL { 8 } else { 64 }
}

/// Makes a segment's header durable. The header that was read may not be on the disk, or its sync
/// may have failed.
fn rewrite_header(vfs: &dyn Vfs, segment: &Segment) -> Result<SyncedSegment, Problem> {
    let failed = |error| Problem::io(vfs, &segment_name(segment.number), "writing the header of", error);
    segment.rewrite_header().map_err(failed)
}

/// Copies the torn tail of the last segment to a separate file. Nothing depends on that copy.
fn quarantine_torn_tail(vfs: &dyn Vfs, image: &Image) {
    let Some(torn) = image.torn else { return };
    let Some(segment) = image.segments.iter().find(|segment| segment.number == torn.segment) else { return };
    let keep = || -> Result<u64, StoreError> {
        let name = torn_name(torn.segment, torn.offset);
        let names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
        if names.contains(&name) {
            return Ok(0);
        }
        Ok(quarantine::copy(vfs, &*segment.file, torn.offset, &name)?)
    };
    let (place, file) = (vfs.describe(), segment_name(torn.segment));
    match keep() {
        Ok(0) => {}
        Ok(bytes) => tracing::warn!(
            place,
            file,
            offset = torn.offset,
            bytes,
            "the log ends in a frame that was not written completely and not acknowledged; it is discarded, and copied to a file"
        ),
        Err(error) => tracing::warn!(%error, place, "copying the torn tail of the log failed"),
    }
}
