//! Closing a log: what is written is synced and left so that the next opening has nothing to find out, and the folder is
//! released.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use lessor_core::StoreError;
use lessor_core::store::{CallerWaker, Closing, Notifier};
use parking_lot::Mutex;

use crate::commit::LEAST_SEGMENT;
use crate::compaction::{self, Work};
use crate::log::Log;
use crate::problem::Problem;
use crate::segment::{FIRST_FRAME, segment_name};
use crate::superblock::Superblock;
use crate::threads::{self, TICK};

/// Less than this is compacted in a moment.
const LITTLE: u64 = 4 << 20;
/// So many segments of a small log are kept, and of a large one.
const MOST_SEGMENTS: [usize; 2] = [4, 64];
/// What remains to be done after a compaction takes about as long.
const REST: Duration = Duration::from_millis(200);

/// How much housekeeping a closing may do.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    All,
    /// What can be done by the deadline.
    Until(Closing),
    /// What takes no time that a caller would notice.
    Little,
}

/// The end of a log.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Of the first call to close the log.
    bound: Mutex<Option<Bound>>,
    /// Nobody waits for housekeeping any more.
    is_hurried: AtomicBool,
    /// Whether all housekeeping was done, once the folder is released.
    outcome: OnceLock<Result<bool, StoreError>>,
    waiting: Mutex<Vec<CallerWaker>>,
}

impl Ending {
    pub(crate) fn begin(&self, bound: Bound) {
        if matches!(bound, Bound::Little) {
            self.is_hurried.store(true, Ordering::SeqCst);
        }
        self.bound.lock().get_or_insert(bound);
    }

    pub(crate) fn outcome(&self) -> Option<Result<bool, StoreError>> {
        self.outcome.get().cloned()
    }

    fn bound(&self) -> Bound {
        self.bound.lock().clone().unwrap_or(Bound::Little)
    }

    fn finish(&self, outcome: Result<bool, StoreError>, notifier: &Notifier) {
        let _ = self.outcome.set(outcome);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        notifier.wake(waiting);
    }
}

/// Resolves once the log is closed.
pub(crate) struct Ended(pub(crate) Arc<Log>);

impl Future for Ended {
    type Output = Result<bool, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = CallerWaker::of(context);
        let ending = &self.0.ending;
        let mut waiting = ending.waiting.lock();
        if let Some(outcome) = ending.outcome() {
            return Poll::Ready(outcome);
        }
        // One task waits; what it left here before is of no use.
        let former: Vec<CallerWaker> = waiting.extract_if(.., |former| former.is_of(context)).collect();
        waiting.push(waker);
        drop(waiting);
        drop(former);
        Poll::Pending
    }
}

/// Closes the log, releases the folder and says so, also if the thread panics meanwhile.
pub(crate) fn end(log: &Log) {
    struct Unexpected<'l>(&'l Log);
    impl Drop for Unexpected<'_> {
        fn drop(&mut self) {
            let reason = "the log's thread ended before the log was closed".to_owned();
            release(self.0, Err(StoreError::Unavailable { reason }));
        }
    }
    let unexpected = Unexpected(log);
    let outcome = close(log);
    std::mem::forget(unexpected);
    release(log, outcome);
}

fn release(log: &Log, outcome: Result<bool, StoreError>) {
    // Before anybody is told: whoever is can open the folder at once.
    drop(log.lock.lock().take());
    log.ending.finish(outcome, &log.notifier);
}

/// Leaves the log so that the next opening has nothing to find out. Says whether all housekeeping was done.
fn close(log: &Log) -> Result<bool, StoreError> {
    while !log.try_close() {
        // Somebody who was not told yet is still writing, or is about to.
        if !log.try_lead() {
            thread::park_timeout(TICK);
        }
    }
    let healthy = || log.failure().map_or(Ok(()), Err);
    healthy()?;
    threads::sync(log);
    healthy()?;
    let is_tidy = tidy(log);
    healthy()?;
    let failed = |error| StoreError::from(Problem::io(&*log.vfs, "superblock", "writing", error));
    if let Some(spare) = log.take_spare_away() {
        let name = segment_name(spare.number);
        let leases = log.live_room();
        if leases > 0 {
            // The next opening begins with it, even if the disk is full by then.
            let length = (FIRST_FRAME + 2 * leases).max(LEAST_SEGMENT).min(spare.length);
            spare.file.cut(length).map_err(|error| Problem::io(&*log.vfs, &name, "cutting", error))?;
        } else {
            drop(spare);
            log.vfs.remove(&name).map_err(|error| Problem::io(&*log.vfs, &name, "removing", error))?;
        }
    }
    // The last segment is an earlier opening's if there never was room for one of this.
    let end = log.writer_position().filter(|(segment, _)| segment.number >= log.own);
    let synced = log.synced.load(Ordering::Acquire);
    let now = log.time.close();
    let trimmed = end.as_ref().map(|(segment, _)| segment.number);
    let update = |block: &mut Superblock| {
        block.synced = block.synced.max(synced);
        block.clock = now;
        block.trimmed = trimmed.unwrap_or(block.trimmed);
        block.is_clean = true;
        log.note_epoch(block);
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
    let ending = &log.ending;
    let stopped = || StoreError::Unavailable { reason: "there was no more time for it".to_owned() };
    let compacted = match ending.bound() {
        Bound::Little if work.total() > LITTLE => return false,
        Bound::Little => compaction::compact_now(log, &work, &mut |_| Ok(())),
        Bound::All => compaction::compact_now(log, &work, &mut |_| {
            if ending.is_hurried.load(Ordering::SeqCst) { Err(stopped()) } else { Ok(()) }
        }),
        Bound::Until(closing) => {
            let (now, _) = log.time.now();
            closing.report(0, work.total());
            let left = closing.deadline().saturating_since(now);
            let until = closing.deadline().saturating_sub(REST.min(left / 4));
            compaction::compact_now(log, &work, &mut |done| {
                closing.report(done, work.total());
                let is_over = ending.is_hurried.load(Ordering::SeqCst) || log.time.now().0 >= until;
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
