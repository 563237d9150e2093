//! Waiting for a frame, for space, or for the clock reservation.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lessor_core::StoreError;
use lessor_core::store::{CallerWaker, may_block};

use crate::log::Log;
use crate::log::staging::{Staging, Wait};

/// Resolves when the condition holds, or with the error that makes it impossible.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) log: Arc<Log>,
    wait: Wait,
    is_over: bool,
    was_polled: bool,
}

impl Waiting {
    pub(crate) fn new(log: &Arc<Log>, wait: Wait) -> Self {
        Self { log: Arc::clone(log), wait, is_over: false, was_polled: false }
    }

    /// Returns the error for the caller whose write is in the frame that was waited for.
    pub(crate) fn unacknowledged(&self, error: StoreError) -> StoreError {
        match self.wait {
            Wait::Visible(lsn) => self.log.poison.unacknowledged(lsn, error),
            _ => error,
        }
    }
}

impl Future for Waiting {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(outcome) = self.log.outcome(self.wait) {
                self.is_over = true;
                return Poll::Ready(outcome);
            }
            // A wait that is not over at the second look may never be: this may be a forked child.
            if std::mem::replace(&mut self.was_polled, true) {
                self.log.check_process()?;
            }
            match self.wait {
                // Bounded by the time that a few syncs take.
                Wait::Visible(lsn) if may_block() => self.log.wait_visible(lsn),
                wait => {
                    if self.log.enlist(wait, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// Makes the writer thread lead, in case this caller was to lead the next commit.
impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over && matches!(self.wait, Wait::Visible(_)) {
            self.log.signals.wake_writer();
        }
    }
}

impl Log {
    /// Blocks until the frame is visible or the log takes no more writes, and leads if no other
    /// thread does. Returns early after a while.
    fn wait_visible(&self, lsn: u64) {
        while lsn > self.committer.visible() && !self.poison.is_set() {
            let mut staging = self.committer.lock();
            if self.is_over(Wait::Visible(lsn), &staging) {
                return;
            }
            if !staging.is_led() {
                self.lead(staging);
                continue;
            }
            let threads = Arc::clone(staging.waiters(lsn).threads.get_or_insert_default());
            drop(staging);
            if !threads.wait() {
                return;
            }
        }
    }

    /// Registers the task to be woken when `wait` is over. Returns `false` if it is over already.
    fn enlist(&self, wait: Wait, context: &Context<'_>) -> bool {
        // A waker is the caller's code, which may block or panic. None of it runs under the lock.
        let mut waker = Some(CallerWaker::of(context));
        let mut staging = self.committer.lock();
        if self.is_over(wait, &staging) {
            return false;
        }
        let list = match wait {
            Wait::Space => &mut staging.for_space,
            Wait::Reservation => &mut staging.for_reservation,
            Wait::Visible(lsn) => &mut staging.waiters(lsn).futures,
        };
        if !list.last().is_some_and(|last| last.is_of(context)) {
            list.extend(waker.take());
        }
        drop(staging);
        match wait {
            Wait::Visible(_) => self.signals.wake_writer(),
            Wait::Space => self.signals.request_segment(),
            Wait::Reservation => self.signals.await_reservation(),
        }
        true
    }

    fn is_over(&self, wait: Wait, staging: &Staging) -> bool {
        self.poison.is_set()
            || match wait {
                Wait::Visible(lsn) => lsn <= self.committer.visible(),
                Wait::Space => {
                    staging.shortage.is_some() || staging.spare_space() >= staging.required_space()
                }
                Wait::Reservation => self.clock.is_reserved(),
            }
    }

    /// Returns the outcome of `wait`, or `None` if it is not over.
    fn outcome(&self, wait: Wait) -> Option<Result<(), StoreError>> {
        let over = match wait {
            Wait::Visible(lsn) => lsn <= self.committer.visible(),
            Wait::Reservation => self.clock.is_reserved(),
            Wait::Space => !self.poison.is_set() && self.is_over(wait, &self.committer.lock()),
        };
        if over { Some(Ok(())) } else { self.poison.error().map(Err) }
    }
}
