//! The leases that are given up at the store in the background.

use std::collections::VecDeque;

use event_listener::Event;
use parking_lot::Mutex;

/// So many leases are given up at the same time; the others wait in line, where each takes less room.
const GIVING_UP: usize = 64;

/// The leases of an engine that are to be given up, each described by a `T`.
pub(crate) struct GivenUp<T> {
    queue: Mutex<Queue<T>>,
    /// Notified when no lease is left to be given up.
    drained: Event,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    running: usize,
}

impl<T> Default for GivenUp<T> {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { waiting: VecDeque::new(), running: 0 }), drained: Event::new() }
    }
}

impl<T> GivenUp<T> {
    /// Adds a lease. Returns the lease with which the caller has to begin, unless enough are under way: then one of those who called
    /// before takes it with [`next`](Self::next).
    pub(crate) fn add(&self, lease: T) -> Option<T> {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(lease);
        if queue.running >= GIVING_UP {
            return None;
        }
        queue.running += 1;
        queue.waiting.pop_front()
    }

    /// Returns the next lease for a caller that has given one up; `None` ends its turn.
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

    /// Resolves once no lease is left to be given up.
    pub(crate) async fn drain(&self) {
        while self.queue.lock().running > 0 {
            let drained = self.drained.listen();
            if self.queue.lock().running > 0 {
                drained.await;
            }
        }
    }
}
