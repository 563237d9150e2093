//! Opening a log: what is on the disk is read, what is not certain to be there is written again, and only then
//! is anything answered.
//!
//! Nothing that is there is changed. An opening goes on in a segment of its own, whose header says with which frame it takes
//! over: frames that the one before holds from there on, whole or torn, do not count any more. An opening
//! that is interrupted leaves what the next one finds as it would have found it before.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use lessor_core::{DecodeError, Outline, Record, StoreError};

use crate::check::aside;
use crate::commit::{Writer, checksum_of};
use crate::entry::Entry;
use crate::frame::{Frame, Header, Kind, LogId, SECTOR};
use crate::image::{self, Image, OnProgress, Sink};
use crate::index::{Index, Place, Slot};
use crate::log::{Files, Log, Parts};
use crate::problem::Problem;
use crate::segment::{FIRST_FRAME, Segment, SegmentHeader, Spare, SyncedSegment, segment_name, torn_name};
use crate::settings::Settings;
use crate::superblock::{self, Superblock};
use crate::threads;
use crate::time::{Source, Time};
use crate::vfs::{Lock, Vfs};

pub(crate) const LOCK: &str = "lock";

impl Sink for Index {
    fn expect(&mut self, records: u64) {
        self.reserve(records);
    }

    fn take(&mut self, lsn: u64, place: Place, entry: &Entry<'_>) -> Result<(), DecodeError> {
        let Outline { token, purge_at } = Record::outline(entry.record)?;
        let slot = Slot { lsn, place, token: token.as_u64(), purge_at, record: None };
        self.recover(entry.key.clone(), slot);
        Ok(())
    }
}

pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    settings: Settings,
    source: Source,
    lock: Lock,
    on_progress: OnProgress<'_>,
) -> Result<(Arc<Log>, JoinHandle<()>), StoreError> {
    let mut index = Index::new(settings.cache);
    let image = match image::read(&*vfs, &mut index, on_progress)? {
        Some(image) => image,
        None => create(&*vfs)?,
    };
    Ok(begin(vfs, settings, source, lock, index, image)?)
}

/// A log without a frame.
fn create(vfs: &dyn Vfs) -> Result<Image, Problem> {
    // Left by a creation that was interrupted.
    for name in vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))? {
        if name == superblock::BEING_MADE {
            vfs.remove(&name).map_err(|error| Problem::io(vfs, &name, "removing", error))?;
        }
    }
    Ok(Image::of(superblock::Keeper::create(vfs, Superblock::first(random_id()?))?))
}

#[expect(clippy::disallowed_methods, reason = "a log's id is no secret, and drawn once in its life")]
pub(crate) fn random_id() -> Result<LogId, Problem> {
    let mut id = LogId::default();
    let failed = |error: getrandom::Error| Problem::Io {
        place: "the system's random numbers".to_owned(),
        doing: "reading",
        error: io::Error::other(error.to_string()),
    };
    getrandom::fill(&mut id).map_err(failed)?;
    Ok(id)
}

fn begin(
    vfs: Arc<dyn Vfs>,
    settings: Settings,
    source: Source,
    lock: Lock,
    index: Index,
    mut image: Image,
) -> Result<(Arc<Log>, JoinHandle<()>), Problem> {
    keep_torn(&*vfs, &image);
    if !image.leftovers.is_empty() {
        // That they do not count is so far perhaps said in the memory of the operating system only.
        let failed = |error| Problem::io(&*vfs, superblock::NAME, "writing", error);
        image.superblock.update(|_| {}).map_err(failed)?;
    }
    for name in &image.leftovers {
        vfs.remove(name).map_err(|error| Problem::io(&*vfs, name, "removing", error))?;
    }
    vfs.sync_folder().map_err(|error| Problem::io(&*vfs, "", "syncing", error))?;
    // Also a folder that was there: whoever made it may have been killed before it was synced.
    vfs.settle().map_err(|error| Problem::io(&*vfs, "", "syncing the folders above", error))?;

    let block = *image.superblock.block();
    let epoch = image.epoch.saturating_add(1);
    let reached = match block.lead {
        // What a closed log says has passed; of one that was killed, that is not known.
        0 if block.is_clean => image.clock,
        0 => 0,
        // A backup begins ahead of the wall clock by as much as the original was.
        lead => source.wall().as_micros().saturating_add(lead),
    };
    let time = Time::starting_at(&source, image.clock, reached);
    let clock = time.cover_to();

    // Without a proven frame behind it, the last segment's header is not proven either, and the segment that follows relies on it.
    if let Some(last) = image.segments.last().filter(|last| image.proven < last.first_lsn) {
        rewrite_header(&*vfs, last)?;
    }
    let frames = std::mem::take(&mut image.tail);
    let (writer, begun) = write_segment(&*vfs, &settings, &image, epoch, clock, &frames)?;
    // An opening that was interrupted may have left segments that the superblock does not know of.
    let first = match image.segments.first() {
        _ if block.first_segment() > 0 => None,
        Some(first) => Some(rewrite_header(&*vfs, first)?),
        None => Some(begun),
    };
    let update = |block: &mut Superblock| {
        block.epoch = epoch;
        block.synced = image.end;
        block.clock = block.clock.max(clock);
        block.lead = 0;
        block.is_clean = false;
        if let Some(first) = &first {
            block.name_first_segment(first);
        }
    };
    let failed = |error| Problem::io(&*vfs, superblock::NAME, "writing", error);
    image.superblock.update(update).map_err(failed)?;
    time.cover(clock);

    let mut segments = image.segments;
    segments.push(Arc::clone(&writer.segment));
    let checkpoints = image.checkpoint.into_iter().collect();
    let log = Arc::new(Log::new(Parts {
        vfs,
        settings,
        id: block.log,
        epoch,
        time,
        source,
        index,
        files: Files { segments, checkpoints },
        writer,
        end: image.end,
        purged: block.purged,
        superblock: image.superblock,
        lock,
    }));
    let writer = threads::start(&log, begun.number() + 1).map_err(|error| Problem::Io {
        place: "the log's threads".to_owned(),
        doing: "starting",
        error,
    })?;
    Ok((log, writer))
}

/// Makes sure of a segment's header: it may so far be in the memory of the operating system only, or have been part of a sync that failed.
fn rewrite_header(vfs: &dyn Vfs, segment: &Segment) -> Result<SyncedSegment, Problem> {
    let failed = |error| Problem::io(vfs, &segment_name(segment.number), "writing the header of", error);
    segment.rewritten().map_err(failed)
}

/// The segment that this opening writes to. It begins with the frames that so far may be in the memory of the operating system
/// only: after a failed sync, reading shows them although they are not on the disk, and syncing them again says nothing.
fn write_segment(
    vfs: &dyn Vfs,
    settings: &Settings,
    image: &Image,
    epoch: u32,
    clock: u64,
    frames: &[Frame],
) -> Result<(Writer, SyncedSegment), Problem> {
    let number = image.next_segment;
    let needed = FIRST_FRAME + frames.iter().map(|frame| frame.size).sum::<u64>();
    let length = settings.first_segment.max((needed * 2).div_ceil(SECTOR) * SECTOR);
    let Spare { file, .. } = Spare::create(vfs, number, length)?;
    let failed = |doing| {
        let place = format!("{}/{}", vfs.place(), segment_name(number));
        move |error| Problem::Io { place, doing, error }
    };
    let log = &image.superblock.block().log;
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
    Ok((Writer { segment, at, last }, begun))
}

/// Keeps the bytes of a tail that was cut, for whoever wants to know. Nothing depends on it.
fn keep_torn(vfs: &dyn Vfs, image: &Image) {
    let Some(torn) = image.torn else { return };
    let Some(segment) = image.segments.iter().find(|segment| segment.number == torn.segment) else { return };
    let keep = || -> Result<u64, StoreError> {
        let name = torn_name(torn.segment, torn.offset);
        let names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
        if names.contains(&name) {
            return Ok(0);
        }
        Ok(aside::copy(vfs, &*segment.file, torn.offset, &name)?)
    };
    let (place, file) = (vfs.place(), segment_name(torn.segment));
    match keep() {
        Ok(0) => {}
        Ok(bytes) => tracing::warn!(
            place,
            file,
            offset = torn.offset,
            bytes,
            "the log's tail was not written whole, and was not acknowledged; it is cut, and kept aside"
        ),
        Err(error) => tracing::warn!(%error, place, "the log's torn tail could not be kept aside"),
    }
}
