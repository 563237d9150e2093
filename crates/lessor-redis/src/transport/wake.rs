//! Waking. The wakers of callers run code of the application, which may panic or block, so none of
//! it runs on a thread that other callers depend on.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use lessor_core::store::{CallerWaker, Notifier};
use parking_lot::Mutex;

/// Wakes the store's own thread. A panic in its waker is caught.
pub(crate) fn wake_thread(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of the store's thread panicked");
    }
}

/// A waker that hands the caller's waker to the notifier instead of running it.
struct DeferredWake {
    caller: Mutex<Option<CallerWaker>>,
    notifier: Notifier,
}

impl Wake for DeferredWake {
    fn wake(self: Arc<Self>) {
        let caller = self.caller.lock().take();
        self.notifier.wake(caller);
    }
}

/// Runs `work`, whose primitives wake several callers one after the other, with a waker that runs
/// no code of the caller.
pub(crate) async fn via_notifier<T>(notifier: &Notifier, work: impl Future<Output = T>) -> T {
    // Dropping a waker may run the caller's code. The previous waker is kept until `work` has
    // replaced it, so that it is dropped here, and not under a lock inside `work`.
    let mut previous = None;
    let mut work = pin!(work);
    poll_fn(|context| {
        let caller = Mutex::new(Some(CallerWaker::of(context)));
        let waker = Waker::from(Arc::new(DeferredWake { caller, notifier: notifier.clone() }));
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        previous = Some(waker);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use event_listener::Event;

    use super::*;

    /// An example of a waker that an application may have.
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }

    #[test]
    fn a_panicking_waker_does_not_keep_others_from_being_woken() {
        let panics = Waker::from(Arc::new(Panics));
        let notifier = Notifier::new();
        notifier.wake([CallerWaker::of(&Context::from_waker(&panics))]);
        let event = Event::new();
        let mut first = Box::pin(via_notifier(&notifier, event.listen()));
        let mut second = Box::pin(via_notifier(&notifier, event.listen()));
        let panics = Waker::from(Arc::new(Panics));
        assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        event.notify(usize::MAX);
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
