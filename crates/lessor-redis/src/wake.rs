//! Wakes callers. Their wakers are code of the application, which may panic or block: none of it runs on a thread that others
//! depend on.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use lessor_core::store::{CallerWaker, Notifier};
use parking_lot::Mutex;

/// Wakes the store's own thread. If its waker panics, the panic ends here.
pub(crate) fn wake_thread(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of the store's thread panicked");
    }
}

/// A waker that runs nothing of the caller's where it is invoked.
struct Shield {
    caller: Mutex<Option<CallerWaker>>,
    notifier: Notifier,
}

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        let caller = self.caller.lock().take();
        self.notifier.wake(caller);
    }
}

/// Does `work`, whose primitives wake its caller by themselves, and many callers one after the other.
pub(crate) async fn shielded<T>(notifier: &Notifier, work: impl Future<Output = T>) -> T {
    // The waker before is kept until `work` has let go of it: it is dropped here, and not under a lock of what `work` waits for.
    let mut former = None;
    let mut work = pin!(work);
    poll_fn(|context| {
        let caller = Mutex::new(Some(CallerWaker::of(context)));
        let waker = Waker::from(Arc::new(Shield { caller, notifier: notifier.clone() }));
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        former = Some(waker);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use event_listener::Event;

    use super::*;

    /// What an application may have for a waker.
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_from_being_woken() {
        let panics = Waker::from(Arc::new(Panics));
        let notifier = Notifier::new();
        notifier.wake([CallerWaker::of(&Context::from_waker(&panics))]);
        let event = Event::new();
        let mut first = Box::pin(shielded(&notifier, event.listen()));
        let mut second = Box::pin(shielded(&notifier, event.listen()));
        let panics = Waker::from(Arc::new(Panics));
        assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        event.notify(usize::MAX);
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
