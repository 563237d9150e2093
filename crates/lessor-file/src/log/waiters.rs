//! The waiters for a frame.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lessor_core::store::{CallerWaker, Notifier};

/// The waiters for a frame.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// WaitingThreads, which can lead.
    pub(crate) threads: Option<Arc<WaitingThreads>>,
    /// Futures, which cannot lead.
    pub(crate) futures: Vec<CallerWaker>,
}

/// The threads that wait for a frame. They share one condition variable, because waking them one by
/// one takes longer than a sync.
#[derive(Debug, Default)]
pub(crate) struct WaitingThreads {
    step: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    /// One of the threads has to lead.
    LeaderWanted,
    Done,
}

impl WaitingThreads {
    /// Blocks until the frame is written or this thread has to lead. Returns `false` if neither
    /// happens for a while.
    pub(crate) fn wait(&self) -> bool {
        self.wait_for(Duration::from_millis(200))
    }

    fn wait_for(&self, a_while: Duration) -> bool {
        let mut step = self.lock();
        loop {
            match *step {
                State::Done => return true,
                State::LeaderWanted => {
                    *step = State::Waiting;
                    return true;
                }
                State::Waiting => {
                    let waited = self.changed.wait_timeout(step, a_while);
                    let (now, late) = waited.unwrap_or_else(PoisonError::into_inner);
                    if late.timed_out() && *now == State::Waiting {
                        return false;
                    }
                    step = now;
                }
            }
        }
    }

    pub(crate) fn call_leader(&self) {
        let mut step = self.lock();
        // Another thread may have led meanwhile, and the frame may be written. That state is final.
        if *step == State::Waiting {
            *step = State::LeaderWanted;
            self.changed.notify_one();
        }
    }

    fn finish(&self) {
        *self.lock() = State::Done;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    /// Wakes all waiters. A waker of a future is the caller's code; the notifier isolates wakers
    /// that panic or block.
    pub(crate) fn wake(self, notifier: &Notifier) {
        self.threads.inspect(|threads| threads.finish());
        notifier.wake(self.futures);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::thread;

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(3600);

    #[test]
    fn all_threads_that_wait_for_a_frame_are_woken_when_it_is_written() {
        let threads = Arc::new(WaitingThreads::default());
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let threads = Arc::clone(&threads);
                thread::spawn(move || threads.wait_for(FOR_EVER))
            })
            .collect();
        // Most of the threads wait by then.
        thread::park_timeout(Duration::from_millis(50));
        threads.finish();
        assert!(waiting.into_iter().all(|waiting| waiting.join().unwrap()));
    }

    #[test]
    fn one_thread_is_called_to_lead_and_the_others_continue_to_wait() {
        let threads = Arc::new(WaitingThreads::default());
        threads.call_leader();
        assert!(threads.wait_for(FOR_EVER), "one thread leads");
        assert!(!threads.wait_for(Duration::from_millis(1)), "the other thread does not");
        threads.finish();
        threads.call_leader();
        assert!(threads.wait_for(FOR_EVER) && threads.wait_for(FOR_EVER), "the frame stays written");
    }
}
