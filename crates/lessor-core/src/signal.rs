//! An event that many callers may wait for.

use std::task::Context;

use parking_lot::Mutex;

use crate::notifier::{CallerWaker, Notifier};

/// Those who wait for an event. Whoever waits registers and then looks at what the event is about; whoever changes that
/// notifies afterwards.
#[derive(Default)]
pub(crate) struct Signal(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: Vec<(u64, CallerWaker)>,
    count: u64,
}

impl Signal {
    /// Has the next notification wake the future that is being polled. `place` is the future's own, `None` at first.
    pub(crate) fn register(&self, place: &mut Option<u64>, context: &Context<'_>) {
        let waker = CallerWaker::of(context);
        let mut waiting = self.0.lock();
        let id = *place.get_or_insert_with(|| {
            waiting.count += 1;
            waiting.count
        });
        let known = waiting.wakers.iter_mut().find(|(known, _)| *known == id);
        let former = match known {
            Some((_, known)) => Some(std::mem::replace(known, waker)),
            None => {
                waiting.wakers.push((id, waker));
                None
            }
        };
        drop(waiting);
        // The waker's destructor is a caller's code: it runs outside of the lock.
        drop(former);
    }

    /// Takes a registration back.
    pub(crate) fn leave(&self, place: Option<u64>) {
        let Some(id) = place else { return };
        let mut waiting = self.0.lock();
        let at = waiting.wakers.iter().position(|(known, _)| *known == id);
        let former = at.map(|at| waiting.wakers.swap_remove(at));
        drop(waiting);
        drop(former);
    }

    /// Wakes all that are registered.
    pub(crate) fn notify(&self, notifier: &Notifier) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        notifier.wake(wakers.into_iter().map(|(_, waker)| waker));
    }
}
