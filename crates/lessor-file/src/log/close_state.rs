//! The progress of closing a log.

use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use lessor_core::StoreError;
use lessor_core::store::{CallerWaker, Closing, Notifier};
use parking_lot::Mutex;

/// The amount of compaction that a close may do.
#[derive(Clone, Debug)]
pub(crate) enum CloseLimit {
    /// All that is worthwhile.
    All,
    /// The amount that fits before a deadline.
    Until(Closing),
    /// The amount that takes no noticeable time.
    Little,
}

/// The progress of closing a log.
#[derive(Debug, Default)]
pub(crate) struct CloseState {
    /// Set by the first call that closes the log.
    limit: Mutex<Option<CloseLimit>>,
    /// No caller waits for the compaction any more.
    is_hurried: AtomicBool,
    /// Set once the folder is released: whether no compaction was left undone.
    outcome: OnceLock<Result<bool, StoreError>>,
    waiters: Mutex<Vec<CallerWaker>>,
}

impl CloseState {
    pub(crate) fn begin(&self, limit: CloseLimit) {
        if matches!(limit, CloseLimit::Little) {
            self.is_hurried.store(true, Ordering::SeqCst);
        }
        self.limit.lock().get_or_insert(limit);
    }

    pub(crate) fn limit(&self) -> CloseLimit {
        self.limit.lock().clone().unwrap_or(CloseLimit::Little)
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.is_hurried.load(Ordering::SeqCst)
    }

    pub(crate) fn outcome(&self) -> Option<Result<bool, StoreError>> {
        self.outcome.get().cloned()
    }

    pub(crate) fn finish(&self, outcome: Result<bool, StoreError>, notifier: &Notifier) {
        let _ = self.outcome.set(outcome);
        let waiters = mem::take(&mut *self.waiters.lock());
        notifier.wake(waiters);
    }

    /// Returns the outcome, or registers the task to be woken when there is one.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<bool, StoreError>> {
        let waker = CallerWaker::of(context);
        let mut waiters = self.waiters.lock();
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        // A task that polls again replaces its waker.
        let replaced: Vec<CallerWaker> = waiters.extract_if(.., |waker| waker.is_of(context)).collect();
        waiters.push(waker);
        drop(waiters);
        drop(replaced);
        Poll::Pending
    }
}
