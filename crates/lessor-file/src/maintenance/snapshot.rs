//! Writing a checkpoint of all records of an open log, and reading it back.

use std::sync::Arc;

use lessor_core::StoreError;
use lessor_vfs::{File, Vfs};

use crate::format::checkpoint::{Begin, Checkpoint, Out, SyncedCheckpoint};
use crate::format::entry::{self, Entries, Entry};
use crate::format::frame::{Found, Frames, HEADER, Kind, LogId, SECTOR};
use crate::format::names::{checkpoint_name, segment_name};
use crate::format::segment::FIRST_FRAME;
use crate::index::location::{Home, Place};
use crate::index::shard::Slot;
use crate::log::Log;
use crate::problem::Problem;

/// What is done between two pieces of work, given the bytes that are done; an error ends the work.
pub(crate) type Between<'b> = &'b mut dyn FnMut(u64) -> Result<(), StoreError>;

/// Where a checkpoint goes.
pub(super) struct To<'t> {
    pub(super) vfs: &'t dyn Vfs,
    pub(super) id: &'t LogId,
    pub(super) number: u64,
    /// Was just made.
    pub(super) file: Arc<dyn File>,
}

/// Writes a checkpoint, durably, of all records as the frames before `first_lsn` have them; of those that have changed since only
/// if the change is in a frame behind `bound`.
pub(super) fn make(
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
    let begin = Begin { number: to.number, epoch: log.epoch, first_lsn, clock: log.clock.next_reservation() };
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
    let length = synced.length();
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
        let files = log.catalog.read();
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

/// Reads the checkpoint back and has the index point to it.
pub(super) fn verify(
    log: &Log,
    checkpoint: Checkpoint,
    between: Between<'_>,
) -> Result<Checkpoint, StoreError> {
    let name = checkpoint_name(checkpoint.number);
    log.catalog.write().checkpoints.push(checkpoint.clone());
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
