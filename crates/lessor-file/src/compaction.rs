//! Compaction: a checkpoint holds every record once, and takes the place of the segments before it.
//!
//! It is written beside the commits, by the thread that also makes room for them, which it goes on to do in between. The log
//! goes on in a new segment first; then what is in the files before is read from
//! front to back, and what the index still points to is copied. A record that has changed since is in the segments that stay, and
//! is copied only as long as that change is not on the disk. The checkpoint is read back before anything relies on it, and nothing
//! is removed before the superblock names it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lessor_core::StoreError;

use crate::entry::{self, Entries, Entry};
use crate::folder;
use crate::frame::{Found, FrameBuilder, Frames, HEADER, Header, Kind, LogId, SECTOR};
use crate::index::{Home, Place, Slot};
use crate::log::{Checkpoint, Log};
use crate::problem::Problem;
use crate::recovery::random_id;
use crate::segment::{FIRST_FRAME, Segment, SegmentHeader, SyncedSegment, checkpoint_name, segment_name};
use crate::superblock::{self, Superblock};
use lessor_vfs::{File, Vfs};

/// About so many bytes make one frame of a checkpoint.
const FRAME: u64 = 128 << 10;
/// So much is written between two syncs, so that no commit has to wait behind a long one.
const SYNC_EVERY: u64 = 1 << 20;

/// Asks the keeper for a compaction and waits for it.
pub(crate) fn request(log: &Log) -> Result<(), StoreError> {
    let (sender, answer) = channel();
    log.threads.compactions.lock().push(sender);
    if log.threads.is_stopping.load(Ordering::SeqCst) {
        refuse_all(log);
    }
    log.wake_keeper();
    answer.recv().unwrap_or_else(|_| Err(ended()))
}

/// The log is being closed.
pub(crate) fn refuse_all(log: &Log) {
    for request in std::mem::take(&mut *log.threads.compactions.lock()) {
        let _ = request.send(Err(ended()));
    }
}

pub(crate) fn ended() -> StoreError {
    StoreError::Unavailable { reason: "the log is closed".to_owned() }
}

/// What is done between two pieces of work, given the bytes that are done; an error ends the work.
pub(crate) type Between<'b> = &'b mut dyn FnMut(u64) -> Result<(), StoreError>;

/// On the keeper's thread.
pub(crate) fn run_if_due(log: &Log, between: Between<'_>) {
    let requests = std::mem::take(&mut *log.threads.compactions.lock());
    if requests.is_empty() && !is_due(log) {
        return;
    }
    let outcome = compact(log, between);
    if let Err(error) = &outcome {
        tracing::warn!(%error, place = log.vfs.place(), "compacting the log failed; it goes on growing");
    }
    for request in requests {
        let _ = request.send(outcome.clone());
    }
}

fn is_due(log: &Log) -> bool {
    if log.is_poisoned() {
        return false;
    }
    if log.is_crowded.swap(false, Ordering::Relaxed) {
        return true;
    }
    let (grown, held) = sizes(log);
    grown >= log.settings.compact_at.max(2 * held)
}

/// Bytes of the segments but the last, and of the checkpoint.
fn sizes(log: &Log) -> (u64, u64) {
    let files = log.files.read();
    let before = files.segments.split_last().map_or(&[][..], |(_, before)| before);
    let grown = before.iter().map(|segment| segment.length).sum();
    (grown, files.checkpoints.iter().map(|checkpoint| checkpoint.length).sum())
}

fn compact(log: &Log, between: Between<'_>) -> Result<(), StoreError> {
    match log.poison() {
        Some(error) => Err(error),
        None => compact_now(log, &Work::of(log), between),
    }
}

/// What there is to be compacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) segments: usize,
    /// Bytes of the segments, and of the checkpoint.
    pub(crate) grown: u64,
    pub(crate) held: u64,
}

impl Work {
    pub(crate) fn of(log: &Log) -> Self {
        let (segments, held) = {
            let files = log.files.read();
            let held = files.checkpoints.iter().map(|checkpoint| checkpoint.length).sum();
            (files.segments.clone(), held)
        };
        let current = log.writer_position();
        let used = |segment: &Arc<Segment>| match &current {
            Some((last, at)) if last.number == segment.number => *at,
            // The last one of a log that was closed was cut to what is used of it.
            _ => segment.file.len().map_or(segment.length, |length| length.min(segment.length)),
        };
        Self { segments: segments.len(), grown: segments.iter().map(used).sum(), held }
    }

    /// Bytes that are read, and then written and read again, about.
    pub(crate) fn total(&self) -> u64 {
        2 * (self.grown + self.held)
    }
}

pub(crate) fn compact_now(log: &Log, work: &Work, between: Between<'_>) -> Result<(), StoreError> {
    let Some(base) = roll(log)? else { return Ok(()) };
    let number = {
        let highest = log.files.read().checkpoints.iter().map(|checkpoint| checkpoint.number).max();
        highest.unwrap_or(0).max(log.superblock.lock().block().checkpoint()) + 1
    };
    let doubts = log.doubts.load(Ordering::SeqCst);
    let name = checkpoint_name(number);
    let file = log.vfs.create(&name).map_err(|error| Problem::io(&*log.vfs, &name, "making", error))?;
    let to = To { vfs: &*log.vfs, id: &log.id, number, file };
    let bound = log.synced.load(Ordering::Acquire);
    let made = make(log, &to, base.first_lsn(), bound, between);
    let verified = made.and_then(|(named, checkpoint)| {
        // What was left out need not be read back.
        let before = work.total().saturating_sub(checkpoint.length);
        Ok((named, verify(log, checkpoint, &mut |done| between(before + done))?))
    });
    // Not if anything failed meanwhile: a sync of the folder, when a segment was made, may have lost the checkpoint's name,
    // and the next one would not tell.
    let is_doubtful = || log.doubts.load(Ordering::SeqCst) != doubts;
    let (named, checkpoint) = match verified.and_then(|verified| match log.failure() {
        Some(error) => Err(error),
        None if is_doubtful() => Err(doubtful()),
        None => Ok(verified),
    }) {
        Ok(verified) => verified,
        Err(problem) => {
            // Records may have been pointed to it: it stays readable as long as it is open.
            let _ = log.vfs.remove(&checkpoint_name(number));
            return Err(problem);
        }
    };
    let synced = log.synced.load(Ordering::Acquire);
    let purged = log.purged.load(Ordering::Acquire);
    let update = |block: &mut Superblock| {
        block.name_checkpoint(&named);
        block.name_first_segment(&base);
        block.synced = block.synced.max(synced);
        block.purged = block.purged.max(purged);
        log.note_epoch(block);
    };
    if let Err(error) = log.superblock.lock().update(update) {
        log.set_poison("writing the superblock", &error);
        return Err(Problem::io(&*log.vfs, superblock::NAME, "writing", error).into());
    }
    drop_before(log, base.number(), &checkpoint);
    Ok(())
}

fn doubtful() -> StoreError {
    let reason =
        "a file could not be made meanwhile, so the checkpoint's name may not be on the disk".to_owned();
    StoreError::Unavailable { reason }
}

/// Has the log go on in a new segment, so that all others can go. Returns the segment from which on they stay.
fn roll(log: &Log) -> Result<Option<SyncedSegment>, StoreError> {
    // Somebody may be leading at this moment. Without a segment to go on in, the one that is written to stays: it has just been
    // begun, or there is no room for another. This thread makes the next one, so waiting for it here would stop everything.
    const TRIES: u32 = 1_000;
    for _ in 0..TRIES {
        match log.try_roll() {
            Ok(true) => break,
            Ok(false) if !log.has_spare() => break,
            Ok(false) => thread::park_timeout(Duration::from_millis(1)),
            Err(error) => return Err(Problem::io(&*log.vfs, "", "beginning a segment", error).into()),
        }
    }
    let Some(last) = log.files.read().segments.last().cloned() else { return Ok(None) };
    // A committer may have begun it a moment ago, without a sync so far.
    match last.synced() {
        Ok(synced) => Ok(Some(synced)),
        Err(error) => {
            log.set_poison("syncing the log", &error);
            Err(Problem::io(&*log.vfs, &segment_name(last.number), "syncing", error).into())
        }
    }
}

/// Removes what the checkpoint stands for.
fn drop_before(log: &Log, first: u64, checkpoint: &Checkpoint) {
    let mut files = log.files.write();
    let mut gone = Vec::new();
    files.segments.retain(|segment| {
        let stays = segment.number >= first;
        if !stays {
            gone.push(segment_name(segment.number));
        }
        stays
    });
    files.checkpoints.retain(|other| {
        let stays = other.number == checkpoint.number;
        if !stays {
            gone.push(checkpoint_name(other.number));
        }
        stays
    });
    drop(files);
    for name in gone {
        match log.vfs.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, name, "a file that is not needed any more could not be removed");
            }
            _ => {}
        }
    }
}

/// Where a checkpoint goes.
struct To<'t> {
    vfs: &'t dyn Vfs,
    id: &'t LogId,
    number: u64,
    /// Was just made.
    file: Arc<dyn File>,
}

/// Writes a checkpoint, durably, of all records as the frames before `first_lsn` have them; of those that have changed since only
/// if the change is in a frame behind `bound`.
fn make(
    log: &Log,
    to: &To<'_>,
    first_lsn: u64,
    bound: u64,
    between: Between<'_>,
) -> Result<(SyncedCheckpoint, Checkpoint), StoreError> {
    let name = checkpoint_name(to.number);
    let name = &name;
    // The place is put together only if there is something to be said of it.
    let failed = |doing| move |error| Problem::io(to.vfs, name, doing, error);
    let file = Arc::clone(&to.file);
    let begin = Begin { number: to.number, epoch: log.epoch, first_lsn, clock: log.time.cover_to() };
    let mut out = Out::begin(&*file, to.id, begin).map_err(failed("writing"))?;
    let mut bytes = Vec::new();
    each_entry(log, first_lsn, between, &mut |lsn, entry| {
        let is_kept = |slot: &Slot| {
            slot.lsn > bound.max(lsn) || (slot.lsn == lsn && slot.place.checksum == entry.checksum)
        };
        if log.index.read(&entry.key).slot(&entry.key).is_some_and(is_kept) {
            bytes.clear();
            entry::encode(&mut bytes, Some(lsn), &entry.key, entry.record);
            out.put(&bytes).map_err(failed("writing"))?;
        }
        Ok(())
    })?;
    let synced = out.finish(to.vfs).map_err(failed("writing"))?;
    let length = synced.length;
    Ok((synced, Checkpoint { number: to.number, file, length }))
}

type OnEntry<'e> = &'e mut dyn FnMut(u64, &Entry<'_>) -> Result<(), StoreError>;

/// Reads what the checkpoint and the frames before `first_lsn` hold, from front to back.
fn each_entry(
    log: &Log,
    first_lsn: u64,
    between: Between<'_>,
    on_entry: OnEntry<'_>,
) -> Result<(), StoreError> {
    let counts = log.superblock.lock().block().checkpoint();
    let (segments, checkpoint) = {
        let files = log.files.read();
        let checkpoint = files.checkpoints.iter().find(|checkpoint| checkpoint.number == counts);
        (files.segments.clone(), checkpoint.cloned())
    };
    let mut before = 0;
    if let Some(checkpoint) = checkpoint {
        let name = checkpoint_name(checkpoint.number);
        let frames = Frames::new(&*checkpoint.file, &log.id, FIRST_FRAME, checkpoint.length);
        each_entry_of(log, &name, frames, None, between, on_entry)?;
        before = checkpoint.length;
    }
    let ends = segments.iter().skip(1).map(|segment| segment.first_lsn).chain([u64::MAX]);
    for (segment, end) in segments.iter().zip(ends) {
        // Frames from the successor's first on do not count, whatever they hold.
        let end = end.min(first_lsn);
        if segment.first_lsn < end {
            let name = segment_name(segment.number);
            let length =
                segment.file.len().map_err(|error| Problem::io(&*log.vfs, &name, "reading", error))?;
            let frames = Frames::new(&*segment.file, &log.id, FIRST_FRAME, length.min(segment.length));
            let between: Between<'_> = &mut |done| between(before + done);
            each_entry_of(log, &name, frames, Some(end - 1), between, on_entry)?;
            before += length;
        }
    }
    Ok(())
}

/// The entries of a segment's frames up to the `last`, or of a checkpoint.
fn each_entry_of(
    log: &Log,
    name: &str,
    mut frames: Frames<'_>,
    last: Option<u64>,
    between: Between<'_>,
    on_entry: OnEntry<'_>,
) -> Result<(), StoreError> {
    loop {
        let at = frames.at();
        between(at)?;
        let corrupt = |reason: &str| StoreError::from(Problem::corrupt(&*log.vfs, name, at, reason));
        let frame = match frames.next().map_err(|error| Problem::io(&*log.vfs, name, "reading", error))? {
            Found::Frame(frame) => frame,
            Found::Torn => return Err(corrupt("a frame is missing")),
            Found::Damaged(reason) => return Err(corrupt(reason)),
        };
        if frame.header.kind == Kind::End {
            return Ok(());
        }
        let with_lsn = frame.header.kind == Kind::Kept;
        for entry in Entries::new(&frame.data, with_lsn) {
            let entry = entry.map_err(corrupt)?;
            on_entry(entry.lsn.unwrap_or(frame.header.lsn), &entry)?;
        }
        if last == Some(frame.header.lsn) {
            return Ok(());
        }
    }
}

/// What a checkpoint begins with.
pub(crate) struct Begin {
    pub(crate) number: u64,
    pub(crate) epoch: u32,
    /// Of the first frame that the checkpoint does not stand for.
    pub(crate) first_lsn: u64,
    pub(crate) clock: u64,
}

/// A checkpoint that is on the disk for certain, its name included. The superblock names no other.
#[derive(Debug)]
pub(crate) struct SyncedCheckpoint {
    number: u64,
    length: u64,
}

impl SyncedCheckpoint {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// A checkpoint that is being written.
pub(crate) struct Out<'o> {
    file: &'o dyn File,
    id: &'o LogId,
    number: u64,
    epoch: u32,
    clock: u64,
    frame: FrameBuilder,
    /// Of the frame in the checkpoint, from 1.
    order: u64,
    at: u64,
    unsynced: u64,
    count: u64,
}

impl<'o> Out<'o> {
    /// In a file that was just made.
    pub(crate) fn begin(file: &'o dyn File, id: &'o LogId, begin: Begin) -> io::Result<Self> {
        let Begin { number, epoch, first_lsn, clock } = begin;
        let header = SegmentHeader { number, epoch, first_lsn, former: 0, length: 0 };
        file.write_all_at(&header.encode(id), 0)?;
        let (frame, at) = (FrameBuilder::default(), FIRST_FRAME);
        Ok(Self { file, id, number, epoch, clock, frame, order: 1, at, unsynced: 0, count: 0 })
    }

    pub(crate) fn put(&mut self, entry: &[u8]) -> io::Result<()> {
        if self.frame.size_with(entry.len()) > FRAME && !self.frame.is_empty() {
            self.flush(Kind::Kept)?;
        }
        self.frame.push(entry);
        self.count += 1;
        Ok(())
    }

    /// Ends the checkpoint, and syncs it and the folder that it is in.
    pub(crate) fn finish(mut self, vfs: &dyn Vfs) -> io::Result<SyncedCheckpoint> {
        self.flush(Kind::Kept)?;
        self.frame.push(&self.count.to_le_bytes());
        self.flush(Kind::End)?;
        self.file.sync()?;
        vfs.sync_folder()?;
        Ok(SyncedCheckpoint { number: self.number, length: self.at })
    }

    fn flush(&mut self, kind: Kind) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let header = Header { kind, epoch: self.epoch, lsn: self.order, durable_upto: 0, clock: self.clock };
        let bytes = self.frame.seal(self.id, header);
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        self.order += 1;
        self.frame.reset();
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.file.sync()?;
        }
        Ok(())
    }
}

/// Reads the checkpoint back and has the index point to it.
fn verify(log: &Log, checkpoint: Checkpoint, between: Between<'_>) -> Result<Checkpoint, StoreError> {
    let name = checkpoint_name(checkpoint.number);
    log.files.write().checkpoints.push(checkpoint.clone());
    let mut frames = Frames::new(&*checkpoint.file, &log.id, FIRST_FRAME, checkpoint.length);
    while frames.at() < checkpoint.length {
        let at = frames.at();
        between(at)?;
        let corrupt = |reason: &str| StoreError::from(Problem::corrupt(&*log.vfs, &name, at, reason));
        let found = frames.next().map_err(|error| Problem::io(&*log.vfs, &name, "reading back", error))?;
        let frame = match found {
            Found::Frame(frame) => frame,
            Found::Torn => return Err(corrupt("a frame that was just written is not whole")),
            Found::Damaged(reason) => return Err(corrupt(reason)),
        };
        if frame.header.kind != Kind::Kept {
            continue;
        }
        let Ok(sector) = u32::try_from(at / SECTOR) else {
            return Err(corrupt("the checkpoint is too long"));
        };
        for entry in Entries::new(&frame.data, true) {
            let entry = entry.map_err(corrupt)?;
            let home = Home::checkpoint(checkpoint.number, sector);
            let position = u32::try_from(entry.at + HEADER).map_err(|_| corrupt("a frame is too long"))?;
            let mut shard = log.index.write(&entry.key);
            if let Some(slot) = shard.slot_mut(&entry.key)
                && Some(slot.lsn) == entry.lsn
            {
                let Place { length, checksum, .. } = slot.place;
                let is_whole = entry::checksum(&entry.key, entry.record) == entry.checksum;
                if entry.checksum != checksum || !is_whole {
                    return Err(corrupt("a record that was just written is not what it was"));
                }
                slot.place = Place { home, position, length, checksum };
            }
        }
    }
    Ok(checkpoint)
}

/// Writes a log of its own to another folder, with all records as they are now.
///
/// The first thing in the folder is a checkpoint without a superblock, which no opening takes for a log, and the last one is the superblock. A folder
/// that is made for the backup gets its name only once the checkpoint's file is in it.
pub(crate) fn backup(log: &Log, vfs: &dyn Vfs) -> Result<(), StoreError> {
    folder::check_empty(vfs)?;
    let id = random_id()?;
    let name = checkpoint_name(1);
    let file = vfs.create(&name).map_err(|error| Problem::io(vfs, &name, "making", error))?;
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;
    vfs.settle().map_err(|error| Problem::io(vfs, "", "syncing the folders above", error))?;
    // Up to what is visible now, or newer.
    let bound = log.visible.load(Ordering::Acquire);
    let to = To { vfs, id: &id, number: 1, file };
    let (checkpoint, _) =
        make(log, &to, bound + 1, bound, &mut |_| Ok(())).map_err(|error| abandoned(vfs, error))?;
    let (now, _) = log.time.now();
    let wall = log.source.wall();
    let mut block = Superblock::first(id);
    block.name_checkpoint(&checkpoint);
    block.epoch = log.epoch;
    block.clock = log.time.cover_to();
    block.lead = now.as_micros().saturating_sub(wall.as_micros());
    block.purged = log.purged.load(Ordering::Acquire);
    block.is_clean = false;
    superblock::Keeper::create(vfs, block).map_err(|error| abandoned(vfs, error.into()))?;
    Ok(())
}

/// What there is of a backup stays, as proof that it is none, but takes no room.
fn abandoned(vfs: &dyn Vfs, error: StoreError) -> StoreError {
    if let Ok(file) = vfs.open(&checkpoint_name(1)) {
        let _ = file.cut(0);
    }
    error
}
