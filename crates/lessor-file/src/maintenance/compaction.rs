//! Compaction: a checkpoint with every record replaces the segments before it.
//!
//! The maintenance thread writes the checkpoint while commits continue, and makes segments for them
//! in between. First the log continues in a new segment. Then the files before it are read front to
//! back, and each record that the index still points to is copied. A record that has changed since
//! is in the segments that stay; its older version is copied only while the change is not synced.
//! The checkpoint is read back before anything relies on it. Files are removed only once the
//! superblock no longer names them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lessor_core::StoreError;

use crate::format::checkpoint::Checkpoint;
use crate::format::names::{SUPERBLOCK, checkpoint_name, segment_name};
use crate::format::segment::{Segment, SyncedSegment};
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::maintenance::snapshot::{OnStep, Target, make, verify};
use crate::problem::{Problem, closed};

/// Requests a compaction and blocks until it is done.
pub(crate) fn request(log: &Log) -> Result<(), StoreError> {
    let (sender, answer) = channel();
    log.signals.push_compaction(sender);
    if log.signals.is_stopping() {
        refuse_all(log);
    }
    log.signals.wake_maintenance();
    answer.recv().unwrap_or_else(|_| Err(closed()))
}

/// Refuses all requests, because the log is being closed.
pub(crate) fn refuse_all(log: &Log) {
    for request in log.signals.take_compactions() {
        let _ = request.send(Err(closed()));
    }
}

/// Compacts the log if that was requested or is due. Runs on the maintenance thread.
pub(crate) fn run_if_due(log: &Log, on_step: OnStep<'_>) {
    let requests = log.signals.take_compactions();
    if requests.is_empty() && !is_due(log) {
        return;
    }
    let outcome = compact(log, on_step);
    if let Err(error) = &outcome {
        tracing::warn!(
            error = format_args!("{error:#}"),
            place = log.vfs.describe(),
            "compacting the log failed; the log continues to grow"
        );
    }
    for request in requests {
        let _ = request.send(outcome.clone());
    }
}

fn is_due(log: &Log) -> bool {
    if log.poison.is_set() {
        return false;
    }
    if log.catalog.take_crowded() {
        return true;
    }
    let (segment_bytes, checkpoint_bytes) = sizes(log);
    segment_bytes >= log.settings.compact_at.max(2 * checkpoint_bytes)
}

/// Returns the bytes of all segments but the last, and of the checkpoint.
fn sizes(log: &Log) -> (u64, u64) {
    let files = log.catalog.read();
    let before = files.segments.split_last().map_or(&[][..], |(_, before)| before);
    let segment_bytes = before.iter().map(|segment| segment.length).sum();
    drop(files);
    (segment_bytes, log.catalog.checkpoint_bytes())
}

fn compact(log: &Log, on_step: OnStep<'_>) -> Result<(), StoreError> {
    match log.poison.error() {
        Some(error) => Err(error),
        None => compact_now(log, &CompactionSize::of(log), on_step),
    }
}

/// The size of what a compaction reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionSize {
    pub(crate) segments: usize,
    /// The bytes of the segments, and of the checkpoint.
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
}

impl CompactionSize {
    pub(crate) fn of(log: &Log) -> Self {
        let segments = log.catalog.read().segments.clone();
        let checkpoint_bytes = log.catalog.checkpoint_bytes();
        let current = log.writer_position();
        let used = |segment: &Arc<Segment>| match &current {
            Some((last, at)) if last.number == segment.number => *at,
            // A close truncates the last segment to its used length.
            _ => segment.file.len().map_or(segment.length, |length| length.min(segment.length)),
        };
        Self { segments: segments.len(), segment_bytes: segments.iter().map(used).sum(), checkpoint_bytes }
    }

    /// Returns the approximate number of bytes that are read, written, and read again.
    pub(crate) fn total(&self) -> u64 {
        2 * (self.segment_bytes + self.checkpoint_bytes)
    }
}

pub(crate) fn compact_now(log: &Log, work: &CompactionSize, on_step: OnStep<'_>) -> Result<(), StoreError> {
    let Some(base) = roll(log)? else { return Ok(()) };
    let number = {
        let highest = log.catalog.read().checkpoints.iter().map(|checkpoint| checkpoint.number).max();
        highest.unwrap_or(0).max(log.superblock.lock().block().checkpoint()) + 1
    };
    let failed_syncs = log.catalog.failed_folder_syncs();
    let name = checkpoint_name(number);
    let file = log.vfs.create(&name).map_err(|error| Problem::io(&*log.vfs, &name, "making", error))?;
    let to = Target { vfs: &*log.vfs, id: &log.id, number, file };
    let bound = log.committer.synced();
    let made = make(log, &to, base.first_lsn(), bound, on_step);
    let verified = made.and_then(|(named, checkpoint)| {
        // Records that were left out are not read back.
        let before = work.total().saturating_sub(checkpoint.length);
        Ok((named, verify(log, checkpoint, &mut |done| on_step(before + done))?))
    });
    // A failed sync of the folder may have lost the name of the checkpoint, and the next sync would
    // not report that.
    let is_name_lost = || log.catalog.failed_folder_syncs() != failed_syncs;
    let (named, checkpoint) = match verified.and_then(|verified| match log.poison.failure() {
        Some(error) => Err(error),
        None if is_name_lost() => Err(name_lost()),
        None => Ok(verified),
    }) {
        Ok(verified) => verified,
        Err(problem) => {
            // The index may point to the removed checkpoint. It stays readable while it is open.
            let _ = log.vfs.remove(&checkpoint_name(number));
            return Err(problem);
        }
    };
    let synced = log.committer.synced();
    let purged = log.token_floor.load(Ordering::Acquire);
    let update = |block: &mut Superblock| {
        block.name_checkpoint(&named);
        block.name_first_segment(&base);
        block.synced = block.synced.max(synced);
        block.purged = block.purged.max(purged);
        log.record_epoch(block);
    };
    if let Err(error) = log.superblock.lock().update(update) {
        log.fail("writing the superblock", &error);
        return Err(Problem::io(&*log.vfs, SUPERBLOCK, "writing", error).into());
    }
    drop_before(log, base.number(), &checkpoint);
    Ok(())
}

fn name_lost() -> StoreError {
    StoreError::unavailable(
        "a sync of the folder failed meanwhile, so the checkpoint's name may not be on the disk",
    )
}

/// Makes the log continue in a new segment, so that all others can be removed. Returns the first
/// segment that stays.
fn roll(log: &Log) -> Result<Option<SyncedSegment>, StoreError> {
    // Another thread may be leading. If there is no next segment, the current one stays: it has
    // just been begun, or the disk is full. This thread makes the next segment, so it must not wait
    // for it here.
    const TRIES: u32 = 1_000;
    for _ in 0..TRIES {
        match log.try_roll() {
            Ok(true) => break,
            Ok(false) if !log.has_spare() => break,
            Ok(false) => thread::park_timeout(Duration::from_millis(1)),
            Err(error) => return Err(Problem::io(&*log.vfs, "", "beginning a segment", error).into()),
        }
    }
    let Some(last) = log.catalog.read().segments.last().cloned() else { return Ok(None) };
    // A leader may have begun the segment a moment ago and not synced it yet.
    match last.sync_header() {
        Ok(synced) => Ok(Some(synced)),
        Err(error) => {
            log.fail("syncing the log", &error);
            Err(Problem::io(&*log.vfs, &segment_name(last.number), "syncing", error).into())
        }
    }
}

/// Removes the files that the checkpoint replaces.
fn drop_before(log: &Log, first: u64, checkpoint: &Checkpoint) {
    let mut files = log.catalog.write();
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
                tracing::warn!(%error, name, "removing a file that is no longer needed failed");
            }
            _ => {}
        }
    }
}
