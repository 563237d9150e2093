//! Closing a log: what was written is synced, the log is left so that the next opening has little
//! to do, and the folder is released.

use std::thread;
use std::time::Duration;

use lessor_core::StoreError;

use crate::format::names::{SUPERBLOCK, segment_name};
use crate::format::segment::{FIRST_FRAME, MIN_SEGMENT};
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::maintenance::compaction::{self, CompactionSize};
use crate::problem::Problem;

/// The interval at which the log is checked while a last write is in progress.
const TICK: Duration = Duration::from_millis(2);
/// A log of less than this many bytes is compacted without noticeable delay.
const LITTLE: u64 = 4 << 20;
/// The number of segments that a small log and a large log may keep.
const MOST_SEGMENTS: [usize; 2] = [4, 64];
/// The time that is reserved for the rest of the close after a compaction.
const REST: Duration = Duration::from_millis(200);

/// Closes the log, releases the folder and publishes the outcome, even if the thread panics
/// meanwhile.
pub(crate) fn close(log: &Log) {
    struct Unexpected<'l>(&'l Log);
    impl Drop for Unexpected<'_> {
        fn drop(&mut self) {
            let reason = "the writer thread ended before the log was closed";
            release(self.0, Err(StoreError::unavailable(reason)));
        }
    }
    let unexpected = Unexpected(log);
    let outcome = try_close(log);
    std::mem::forget(unexpected);
    release(log, outcome);
}

fn release(log: &Log, outcome: Result<bool, StoreError>) {
    // The lock is released first, so that a caller that receives the outcome can open the folder at
    // once.
    drop(log.lock.lock().take());
    log.close_state.finish(outcome, &log.notifier);
}

/// Leaves the log in a state in which the next opening has little to do. Returns whether no
/// compaction was left undone.
fn try_close(log: &Log) -> Result<bool, StoreError> {
    while !log.try_close() {
        // A caller is still writing, or about to.
        if !log.try_lead() {
            thread::park_timeout(TICK);
        }
    }
    let healthy = || log.poison.failure().map_or(Ok(()), Err);
    healthy()?;
    log.sync();
    healthy()?;
    let is_compacted = compact(log);
    healthy()?;
    let failed = |error| StoreError::from(Problem::io(&*log.vfs, SUPERBLOCK, "writing", error));
    if let Some(spare) = log.remove_spare() {
        let name = segment_name(spare.number);
        let leases = log.lease_space();
        if leases > 0 {
            // The next opening starts with this segment, even if the disk is full by then.
            let length = (FIRST_FRAME + 2 * leases).max(MIN_SEGMENT).min(spare.length);
            spare.file.truncate(length).map_err(|error| Problem::io(&*log.vfs, &name, "cutting", error))?;
        } else {
            drop(spare);
            log.vfs.remove(&name).map_err(|error| Problem::io(&*log.vfs, &name, "removing", error))?;
        }
    }
    // The last segment belongs to an earlier opening if this one never had space for a segment.
    let end = log.writer_position().filter(|(segment, _)| log.catalog.is_own(segment));
    let synced = log.committer.synced();
    let now = log.clock.close();
    let trimmed = end.as_ref().map(|(segment, _)| segment.number);
    let update = |block: &mut Superblock| {
        block.synced = block.synced.max(synced);
        block.clock = now;
        block.trimmed = trimmed.unwrap_or(block.trimmed);
        block.is_clean = true;
        log.record_epoch(block);
    };
    log.superblock.lock().update(update).map_err(failed)?;
    if let Some((segment, at)) = end {
        // Truncating saves space only. Nothing depends on it.
        if let Err(error) = segment.file.truncate(at) {
            tracing::warn!(%error, "truncating the unused end of the last segment failed");
        }
    }
    Ok(is_compacted)
}

/// Compacts the log if that is worthwhile, within the limit of the close. Returns whether nothing
/// is left to be compacted.
fn compact(log: &Log) -> bool {
    let work = CompactionSize::of(log);
    if !is_worthwhile(&work) {
        return true;
    }
    let state = &log.close_state;
    let timeout = || StoreError::unavailable("the time for the close is over");
    let compacted = match state.limit() {
        CloseLimit::Little if work.total() > LITTLE => return false,
        CloseLimit::Little => compaction::compact_now(log, &work, &mut |_| Ok(())),
        CloseLimit::All => compaction::compact_now(log, &work, &mut |_| {
            if state.is_hurried() { Err(timeout()) } else { Ok(()) }
        }),
        CloseLimit::Until(closing) => {
            let (now, _) = log.clock.now();
            closing.report(0, work.total());
            let left = closing.deadline().saturating_since(now);
            let until = closing.deadline().saturating_sub(REST.min(left / 4));
            compaction::compact_now(log, &work, &mut |done| {
                closing.report(done, work.total());
                let is_over = state.is_hurried() || log.clock.now().0 >= until;
                if is_over { Err(timeout()) } else { Ok(()) }
            })
        }
    };
    if let Err(error) = &compacted {
        tracing::warn!(
            error = format_args!("{error:#}"),
            place = log.vfs.describe(),
            "compacting the log during the close failed"
        );
    }
    compacted.is_ok()
}

/// Returns whether a compaction pays off. Each opening leaves a segment behind. A small log is
/// compacted when it has a few of them, and a large log when it has segment_bytes by a fraction of
/// its size.
fn is_worthwhile(work: &CompactionSize) -> bool {
    let [few, many] = MOST_SEGMENTS;
    let most = if work.total() <= LITTLE { few } else { many };
    work.segments > most || work.segment_bytes >= LITTLE.max(work.checkpoint_bytes / 4)
}
