//! Closing a log: what was written is synced, the log is left so that the next opening has little to
//! do, and the folder is released.

use std::thread;
use std::time::Duration;

use lessor_core::StoreError;

use crate::format::names::{SUPERBLOCK, segment_name};
use crate::format::segment::{FIRST_FRAME, MIN_SEGMENT};
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::maintenance::compaction::{self, Work};
use crate::problem::Problem;

/// How often the log is looked at while a last write is under way.
const TICK: Duration = Duration::from_millis(2);
/// Less than this is compacted in a moment.
const LITTLE: u64 = 4 << 20;
/// So many segments of a small log are kept, and of a large one.
const MOST_SEGMENTS: [usize; 2] = [4, 64];
/// What remains to be done after a compaction takes about as long.
const REST: Duration = Duration::from_millis(200);

/// Closes the log, releases the folder and says so, also if the thread panics meanwhile.
pub(crate) fn close(log: &Log) {
    struct Unexpected<'l>(&'l Log);
    impl Drop for Unexpected<'_> {
        fn drop(&mut self) {
            let reason = "the log's thread ended before the log was closed".to_owned();
            release(self.0, Err(StoreError::Unavailable { reason }));
        }
    }
    let unexpected = Unexpected(log);
    let outcome = try_close(log);
    std::mem::forget(unexpected);
    release(log, outcome);
}

fn release(log: &Log, outcome: Result<bool, StoreError>) {
    // Before anybody is told: whoever is can open the folder at once.
    drop(log.lock.lock().take());
    log.close_state.finish(outcome, &log.notifier);
}

/// Leaves the log so that the next opening has nothing to find out. Says whether all housekeeping was done.
fn try_close(log: &Log) -> Result<bool, StoreError> {
    while !log.try_close() {
        // Somebody who was not told yet is still writing, or is about to.
        if !log.try_lead() {
            thread::park_timeout(TICK);
        }
    }
    let healthy = || log.poison.failure().map_or(Ok(()), Err);
    healthy()?;
    log.sync();
    healthy()?;
    let is_tidy = tidy(log);
    healthy()?;
    let failed = |error| StoreError::from(Problem::io(&*log.vfs, SUPERBLOCK, "writing", error));
    if let Some(spare) = log.remove_spare() {
        let name = segment_name(spare.number);
        let leases = log.lease_space();
        if leases > 0 {
            // The next opening begins with it, even if the disk is full by then.
            let length = (FIRST_FRAME + 2 * leases).max(MIN_SEGMENT).min(spare.length);
            spare.file.cut(length).map_err(|error| Problem::io(&*log.vfs, &name, "cutting", error))?;
        } else {
            drop(spare);
            log.vfs.remove(&name).map_err(|error| Problem::io(&*log.vfs, &name, "removing", error))?;
        }
    }
    // The last segment is an earlier opening's if there never was room for one of this.
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
        // Only to save room: nothing depends on it.
        if let Err(error) = segment.file.cut(at) {
            tracing::warn!(%error, "the log's last segment could not be cut to what is used of it");
        }
    }
    Ok(is_tidy)
}

/// Compacts the log if that is worth the while, and as far as there is time for it. Says whether nothing is left to be done.
fn tidy(log: &Log) -> bool {
    let work = Work::of(log);
    if !is_worth_the_while(&work) {
        return true;
    }
    let state = &log.close_state;
    let stopped = || StoreError::Unavailable { reason: "there was no more time for it".to_owned() };
    let compacted = match state.limit() {
        CloseLimit::Little if work.total() > LITTLE => return false,
        CloseLimit::Little => compaction::compact_now(log, &work, &mut |_| Ok(())),
        CloseLimit::All => compaction::compact_now(log, &work, &mut |_| {
            if state.is_hurried() { Err(stopped()) } else { Ok(()) }
        }),
        CloseLimit::Until(closing) => {
            let (now, _) = log.clock.now();
            closing.report(0, work.total());
            let left = closing.deadline().saturating_since(now);
            let until = closing.deadline().saturating_sub(REST.min(left / 4));
            compaction::compact_now(log, &work, &mut |done| {
                closing.report(done, work.total());
                let is_over = state.is_hurried() || log.clock.now().0 >= until;
                if is_over { Err(stopped()) } else { Ok(()) }
            })
        }
    };
    if let Err(error) = &compacted {
        tracing::warn!(%error, place = log.vfs.place(), "the log could not be compacted while it was closed");
    }
    compacted.is_ok()
}

/// Each opening leaves a segment behind. A small log is compacted when there are some of them, a large one when it has grown by a
/// part of itself.
fn is_worth_the_while(work: &Work) -> bool {
    let [few, many] = MOST_SEGMENTS;
    let most = if work.total() <= LITTLE { few } else { many };
    work.segments > most || work.grown >= LITTLE.max(work.held / 4)
}
