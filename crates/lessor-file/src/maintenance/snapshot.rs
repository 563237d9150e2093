//! Writing a checkpoint of all records of an open log, and reading it back.

use std::sync::Arc;

use lessor_core::StoreError;
use lessor_vfs::{File, Vfs};

use crate::format::checkpoint::{Checkpoint, CheckpointStart, CheckpointWriter, SyncedCheckpoint};
use crate::format::entry::{self, Entries, Entry};
use crate::format::frame::{FrameKind, FrameRead, FrameReader, HEADER_BYTES, LogId, SECTOR};
use crate::format::names::{checkpoint_name, segment_name};
use crate::format::segment::FIRST_FRAME;
use crate::index::location::{FileRef, Location};
use crate::index::shard::Slot;
use crate::log::Log;
use crate::problem::Problem;

/// A callback between two steps of the work, with the number of bytes done. An error ends the work.
pub(crate) type OnStep<'b> = &'b mut dyn FnMut(u64) -> Result<(), StoreError>;

/// The target of a checkpoint.
pub(super) struct Target<'t> {
    pub(super) vfs: &'t dyn Vfs,
    pub(super) id: &'t LogId,
    pub(super) number: u64,
    /// A new, empty file.
    pub(super) file: Arc<dyn File>,
}

/// Writes a checkpoint of all records as they are in the frames before `first_lsn`, durably. A
/// record that has changed since is included only if the change is in a frame after `bound`.
pub(super) fn make(
    log: &Log,
    to: &Target<'_>,
    first_lsn: u64,
    bound: u64,
    on_step: OnStep<'_>,
) -> Result<(SyncedCheckpoint, Checkpoint), StoreError> {
    let name = checkpoint_name(to.number);
    let name = &name;
    // The message is built only if an error occurs.
    let failed = |doing| move |error| Problem::io(to.vfs, name, doing, error);
    let file = Arc::clone(&to.file);
    let begin = CheckpointStart {
        number: to.number,
        epoch: log.epoch,
        first_lsn,
        clock: log.clock.next_reservation(),
    };
    let mut out = CheckpointWriter::begin(&*file, to.id, begin).map_err(failed("writing"))?;
    let mut bytes = Vec::new();
    each_entry(log, first_lsn, on_step, &mut |lsn, entry| {
        let is_kept = |slot: &Slot| {
            slot.lsn > bound.max(lsn) || (slot.lsn == lsn && slot.location.checksum == entry.checksum)
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

/// Reads the entries of the checkpoint and of the frames before `first_lsn`, front to back.
fn each_entry(
    log: &Log,
    first_lsn: u64,
    on_step: OnStep<'_>,
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
        let frames = FrameReader::new(&*checkpoint.file, &log.id, FIRST_FRAME, checkpoint.length);
        each_entry_of(log, &name, frames, None, on_step, on_entry)?;
        before = checkpoint.length;
    }
    let ends = segments.iter().skip(1).map(|segment| segment.first_lsn).chain([u64::MAX]);
    for (segment, end) in segments.iter().zip(ends) {
        // FrameReader from the first one of the successor on do not count.
        let end = end.min(first_lsn);
        if segment.first_lsn < end {
            let name = segment_name(segment.number);
            let length =
                segment.file.len().map_err(|error| Problem::io(&*log.vfs, &name, "reading", error))?;
            let frames = FrameReader::new(&*segment.file, &log.id, FIRST_FRAME, length.min(segment.length));
            let on_step: OnStep<'_> = &mut |done| on_step(before + done);
            each_entry_of(log, &name, frames, Some(end - 1), on_step, on_entry)?;
            before += length;
        }
    }
    Ok(())
}

/// Reads the entries of a checkpoint, or of a segment up to the frame `last`.
fn each_entry_of(
    log: &Log,
    name: &str,
    mut frames: FrameReader<'_>,
    last: Option<u64>,
    on_step: OnStep<'_>,
    on_entry: OnEntry<'_>,
) -> Result<(), StoreError> {
    loop {
        let at = frames.at();
        on_step(at)?;
        let corrupt = |reason: &str| StoreError::from(Problem::corrupt(&*log.vfs, name, at, reason));
        let frame = match frames.next().map_err(|error| Problem::io(&*log.vfs, name, "reading", error))? {
            FrameRead::Frame(frame) => frame,
            FrameRead::Torn => return Err(corrupt("a frame is missing")),
            FrameRead::Damaged(reason) => return Err(corrupt(reason)),
        };
        if frame.header.kind == FrameKind::CheckpointEnd {
            return Ok(());
        }
        let with_lsn = frame.header.kind == FrameKind::Checkpoint;
        for entry in Entries::new(&frame.data, with_lsn) {
            let entry = entry.map_err(corrupt)?;
            on_entry(entry.lsn.unwrap_or(frame.header.lsn), &entry)?;
        }
        if last == Some(frame.header.lsn) {
            return Ok(());
        }
    }
}

/// Reads the checkpoint back, and points the index to it.
pub(super) fn verify(
    log: &Log,
    checkpoint: Checkpoint,
    on_step: OnStep<'_>,
) -> Result<Checkpoint, StoreError> {
    let name = checkpoint_name(checkpoint.number);
    log.catalog.write().checkpoints.push(checkpoint.clone());
    let mut frames = FrameReader::new(&*checkpoint.file, &log.id, FIRST_FRAME, checkpoint.length);
    while frames.at() < checkpoint.length {
        let at = frames.at();
        on_step(at)?;
        let corrupt = |reason: &str| StoreError::from(Problem::corrupt(&*log.vfs, &name, at, reason));
        let found = frames.next().map_err(|error| Problem::io(&*log.vfs, &name, "reading back", error))?;
        let frame = match found {
            FrameRead::Frame(frame) => frame,
            FrameRead::Torn => return Err(corrupt("a frame that was just written is incomplete")),
            FrameRead::Damaged(reason) => return Err(corrupt(reason)),
        };
        if frame.header.kind != FrameKind::Checkpoint {
            continue;
        }
        let Ok(sector) = u32::try_from(at / SECTOR) else {
            return Err(corrupt("the checkpoint is too long"));
        };
        for entry in Entries::new(&frame.data, true) {
            let entry = entry.map_err(corrupt)?;
            let file_ref = FileRef::checkpoint(checkpoint.number, sector);
            let position =
                u32::try_from(entry.at + HEADER_BYTES).map_err(|_| corrupt("a frame is too long"))?;
            let mut shard = log.index.write(&entry.key);
            if let Some(slot) = shard.slot_mut(&entry.key)
                && Some(slot.lsn) == entry.lsn
            {
                let Location { length, checksum, .. } = slot.location;
                let is_whole = entry::checksum(&entry.key, entry.record) == entry.checksum;
                if entry.checksum != checksum || !is_whole {
                    return Err(corrupt("a record that was just written reads differently"));
                }
                slot.location = Location { file_ref, position, length, checksum };
            }
        }
    }
    Ok(checkpoint)
}
