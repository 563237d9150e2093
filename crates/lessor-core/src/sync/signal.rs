//! An event that many callers may wait for.

use std::task::Context;

use parking_lot::Mutex;

use crate::sync::wakers::{CallerWaker, Notifier};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn register(signal: &Signal, place: &mut Option<u64>) -> Arc<Count> {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        signal.register(place, &Context::from_waker(&waker));
        count
    }

    /// The wakers run on the notifier's thread, in their order.
    fn woken(count: &Count) {
        for _ in 0..6_000 {
            if count.0.load(Ordering::SeqCst) > 0 {
                return;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        panic!("the waker was never invoked");
    }

    #[test]
    fn all_that_are_registered_are_woken_by_their_latest_waker() {
        let (signal, notifier) = (Signal::default(), Notifier::new());
        let (mut one, mut other) = (None, None);
        let replaced = register(&signal, &mut one);
        let second = register(&signal, &mut other);
        let first = register(&signal, &mut one);
        signal.notify(&notifier);
        woken(&first);
        woken(&second);
        assert_eq!(replaced.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn one_that_has_left_is_not_woken_and_takes_nobody_along() {
        let (signal, notifier) = (Signal::default(), Notifier::new());
        let (mut one, mut other, mut last) = (None, None, None);
        let first = register(&signal, &mut one);
        let gone = register(&signal, &mut other);
        let third = register(&signal, &mut last);
        signal.leave(other);
        signal.leave(None);
        signal.notify(&notifier);
        woken(&first);
        woken(&third);
        assert_eq!(gone.0.load(Ordering::SeqCst), 0);
    }
}
