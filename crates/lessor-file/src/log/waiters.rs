//! Those who wait for a frame, and how they are woken.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lessor_core::store::{CallerWaker, Notifier};

/// Those who wait for a frame.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Threads, which can lead.
    pub(crate) threads: Option<Arc<Threads>>,
    /// Futures, which cannot.
    pub(crate) futures: Vec<CallerWaker>,
}

/// Threads that wait for one frame. They share one condition variable: to wake them one by one would take
/// longer than a sync.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    step: Mutex<Step>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Waits,
    /// One of them is to lead.
    WantsLeader,
    Done,
}

impl Threads {
    /// Returns when the frame is written, or somebody has to lead; `false` if neither is so after a while.
    pub(crate) fn wait(&self) -> bool {
        self.wait_for(Duration::from_millis(200))
    }

    fn wait_for(&self, a_while: Duration) -> bool {
        let mut step = self.lock();
        loop {
            match *step {
                Step::Done => return true,
                Step::WantsLeader => {
                    *step = Step::Waits;
                    return true;
                }
                Step::Waits => {
                    let waited = self.changed.wait_timeout(step, a_while);
                    let (now, late) = waited.unwrap_or_else(PoisonError::into_inner);
                    if late.timed_out() && *now == Step::Waits {
                        return false;
                    }
                    step = now;
                }
            }
        }
    }

    pub(crate) fn call_leader(&self) {
        let mut step = self.lock();
        // Somebody may have led meanwhile, and the frame be written: that is not to be taken back.
        if *step == Step::Waits {
            *step = Step::WantsLeader;
            self.changed.notify_one();
        }
    }

    fn finish(&self) {
        *self.lock() = Step::Done;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    /// A waker of a future is a caller's code: the notifier sees to it that one which panics or blocks keeps nobody else.
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
        let threads = Arc::new(Threads::default());
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let threads = Arc::clone(&threads);
                thread::spawn(move || threads.wait_for(FOR_EVER))
            })
            .collect();
        // Most of them wait by then, as a rule.
        thread::park_timeout(Duration::from_millis(50));
        threads.finish();
        assert!(waiting.into_iter().all(|waiting| waiting.join().unwrap()));
    }

    #[test]
    fn one_thread_is_called_to_lead_and_the_others_wait_on() {
        let threads = Arc::new(Threads::default());
        threads.call_leader();
        assert!(threads.wait_for(FOR_EVER), "it leads");
        assert!(!threads.wait_for(Duration::from_millis(1)), "nobody else does");
        threads.finish();
        threads.call_leader();
        assert!(threads.wait_for(FOR_EVER) && threads.wait_for(FOR_EVER), "the frame stays written");
    }
}
