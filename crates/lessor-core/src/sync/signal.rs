//! An event that many futures can wait for.

use std::task::Context;

use parking_lot::Mutex;

use crate::sync::wakers::{CallerWaker, Notifier};

/// The wakers of the futures that wait for an event.
///
/// No wake-up is lost if each future registers before it checks the condition, and each writer
/// changes the condition before it calls [`notify`](Self::notify).
#[derive(Default)]
pub(crate) struct Signal(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: Vec<(u64, CallerWaker)>,
    count: u64,
}

impl Signal {
    /// Registers the future that is being polled for the next notification. `registration` belongs
    /// to the future and is `None` at first.
    pub(crate) fn register(&self, registration: &mut Option<u64>, context: &Context<'_>) {
        let waker = CallerWaker::of(context);
        let mut waiting = self.0.lock();
        let id = *registration.get_or_insert_with(|| {
            waiting.count += 1;
            waiting.count
        });
        let known = waiting.wakers.iter_mut().find(|(known, _)| *known == id);
        let replaced = match known {
            Some((_, known)) => Some(std::mem::replace(known, waker)),
            None => {
                waiting.wakers.push((id, waker));
                None
            }
        };
        drop(waiting);
        // The destructor of a waker is a caller's code, so it runs outside of the lock.
        drop(replaced);
    }

    /// Removes a registration.
    pub(crate) fn unregister(&self, registration: Option<u64>) {
        let Some(id) = registration else { return };
        let mut waiting = self.0.lock();
        let at = waiting.wakers.iter().position(|(known, _)| *known == id);
        let removed = at.map(|at| waiting.wakers.swap_remove(at));
        drop(waiting);
        drop(removed);
    }

    /// Wakes all registered futures.
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

    fn register(signal: &Signal, registration: &mut Option<u64>) -> Arc<Count> {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        signal.register(registration, &Context::from_waker(&waker));
        count
    }

    /// Waits until the waker was invoked, which happens on a thread of the notifier.
    fn expect_woken(count: &Count) {
        for _ in 0..6_000 {
            if count.0.load(Ordering::SeqCst) > 0 {
                return;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        panic!("the waker was never invoked");
    }

    #[test]
    fn all_registered_futures_are_woken_by_their_latest_waker() {
        let (signal, notifier) = (Signal::default(), Notifier::new());
        let (mut one, mut other) = (None, None);
        let replaced = register(&signal, &mut one);
        let second = register(&signal, &mut other);
        let first = register(&signal, &mut one);
        signal.notify(&notifier);
        expect_woken(&first);
        expect_woken(&second);
        assert_eq!(replaced.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_unregistered_future_is_not_woken_and_the_others_are() {
        let (signal, notifier) = (Signal::default(), Notifier::new());
        let (mut one, mut other, mut last) = (None, None, None);
        let first = register(&signal, &mut one);
        let second = register(&signal, &mut other);
        let third = register(&signal, &mut last);
        signal.unregister(other);
        signal.unregister(None);
        signal.notify(&notifier);
        expect_woken(&first);
        expect_woken(&third);
        assert_eq!(second.0.load(Ordering::SeqCst), 0);
    }
}
