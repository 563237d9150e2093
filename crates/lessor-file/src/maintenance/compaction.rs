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

use crate::format::checkpoint::Checkpoint;
use crate::format::names::{SUPERBLOCK, checkpoint_name, segment_name};
use crate::format::segment::{Segment, SyncedSegment};
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::maintenance::snapshot::{Between, To, make, verify};
use crate::problem::{Problem, closed};

/// Asks the keeper for a compaction and waits for it.
pub(crate) fn request(log: &Log) -> Result<(), StoreError> {
    let (sender, answer) = channel();
    log.signals.push_compaction(sender);
    if log.signals.is_stopping() {
        refuse_all(log);
    }
    log.signals.wake_maintenance();
    answer.recv().unwrap_or_else(|_| Err(closed()))
}

/// The log is being closed.
pub(crate) fn refuse_all(log: &Log) {
    for request in log.signals.take_compactions() {
        let _ = request.send(Err(closed()));
    }
}

/// On the keeper's thread.
pub(crate) fn run_if_due(log: &Log, between: Between<'_>) {
    let requests = log.signals.take_compactions();
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
    if log.poison.is_set() {
        return false;
    }
    if log.catalog.take_crowded() {
        return true;
    }
    let (grown, held) = sizes(log);
    grown >= log.settings.compact_at.max(2 * held)
}

/// Bytes of the segments but the last, and of the checkpoint.
fn sizes(log: &Log) -> (u64, u64) {
    let files = log.catalog.read();
    let before = files.segments.split_last().map_or(&[][..], |(_, before)| before);
    let grown = before.iter().map(|segment| segment.length).sum();
    drop(files);
    (grown, log.catalog.checkpoint_bytes())
}

fn compact(log: &Log, between: Between<'_>) -> Result<(), StoreError> {
    match log.poison.error() {
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
        let segments = log.catalog.read().segments.clone();
        let held = log.catalog.checkpoint_bytes();
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
        let highest = log.catalog.read().checkpoints.iter().map(|checkpoint| checkpoint.number).max();
        highest.unwrap_or(0).max(log.superblock.lock().block().checkpoint()) + 1
    };
    let doubts = log.catalog.failed_folder_syncs();
    let name = checkpoint_name(number);
    let file = log.vfs.create(&name).map_err(|error| Problem::io(&*log.vfs, &name, "making", error))?;
    let to = To { vfs: &*log.vfs, id: &log.id, number, file };
    let bound = log.committer.synced();
    let made = make(log, &to, base.first_lsn(), bound, between);
    let verified = made.and_then(|(named, checkpoint)| {
        // What was left out need not be read back.
        let before = work.total().saturating_sub(checkpoint.length);
        Ok((named, verify(log, checkpoint, &mut |done| between(before + done))?))
    });
    // Not if anything failed meanwhile: a sync of the folder, when a segment was made, may have lost the checkpoint's name,
    // and the next one would not tell.
    let is_doubtful = || log.catalog.failed_folder_syncs() != doubts;
    let (named, checkpoint) = match verified.and_then(|verified| match log.poison.failure() {
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
    let Some(last) = log.catalog.read().segments.last().cloned() else { return Ok(None) };
    // A committer may have begun it a moment ago, without a sync so far.
    match last.synced() {
        Ok(synced) => Ok(Some(synced)),
        Err(error) => {
            log.fail("syncing the log", &error);
            Err(Problem::io(&*log.vfs, &segment_name(last.number), "syncing", error).into())
        }
    }
}

/// Removes what the checkpoint stands for.
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
                tracing::warn!(%error, name, "a file that is not needed any more could not be removed");
            }
            _ => {}
        }
    }
}
