//! The leases without a holder that the background ends at the store.

use std::collections::VecDeque;

use event_listener::Event;
use parking_lot::Mutex;

/// The maximum number of leases that are abandoned at the same time. The others are queued, which
/// takes less memory than a task.
const MAX_RUNNING: usize = 64;

/// The leases of an engine that have to be abandoned, each described by a `T`.
pub(crate) struct AbandonQueue<T> {
    queue: Mutex<Queue<T>>,
    /// Notified when no lease is left.
    drained: Event,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    running: usize,
}

impl<T> Default for AbandonQueue<T> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { waiting: VecDeque::new(), running: 0 }), drained: Event::new() }
    }
}

impl<T> AbandonQueue<T> {
    /// Adds a lease. Returns a lease that the caller has to abandon, in a new task. Returns `None`
    /// if enough tasks are running; one of them takes the lease with [`next`](Self::next).
    pub(crate) fn add(&self, lease: T) -> Option<T> {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(lease);
        if queue.running >= MAX_RUNNING {
            return None;
        }
        queue.running += 1;
        queue.waiting.pop_front()
    }

    /// Returns the next lease for a task that has abandoned one. `None` ends the task.
    pub(crate) fn next(&self) -> Option<T> {
        let mut queue = self.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.running -= 1;
            if queue.running == 0 {
                self.drained.notify(usize::MAX);
            }
        }
        next
    }

    /// Resolves when no lease is left.
    pub(crate) async fn drain(&self) {
        while self.queue.lock().running > 0 {
            let drained = self.drained.listen();
            if self.queue.lock().running > 0 {
                drained.await;
            }
        }
    }
}
