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
        const A_WHILE: Duration = Duration::from_millis(200);
        let mut step = self.lock();
        loop {
            match *step {
                Step::Done => return true,
                Step::WantsLeader => {
                    *step = Step::Waits;
                    return true;
                }
                Step::Waits => {
                    let waited = self.changed.wait_timeout(step, A_WHILE);
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
