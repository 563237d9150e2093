//! Wakes callers. Their wakers are code of the application, which may panic or block: none of it runs on a thread that others
//! depend on.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Wake, Waker};

use lessor_core::store::{CallerWaker, Notifier};

/// Of all stores of this process. It has threads only while there is something to do.
static NOTIFIER: LazyLock<Notifier> = LazyLock::new(Notifier::new);

/// Wakes callers.
pub(crate) fn wake(callers: impl IntoIterator<Item = CallerWaker>) {
    NOTIFIER.wake(callers);
}

/// Wakes the store's own thread. If its waker panics, the panic ends here.
pub(crate) fn wake_thread(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of the store's thread panicked");
    }
}

/// A waker that neither panics nor blocks.
struct Shield(CallerWaker);

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        wake([self.0.clone()]);
    }
}

/// Does `work`, whose primitives wake its caller by themselves, and many callers one after the other.
pub(crate) async fn shielded<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let waker = Waker::from(Arc::new(Shield(CallerWaker::of(context))));
        work.as_mut().poll(&mut Context::from_waker(&waker))
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
        wake([CallerWaker::of(&Context::from_waker(&panics))]);
        let event = Event::new();
        let mut first = Box::pin(shielded(event.listen()));
        let mut second = Box::pin(shielded(event.listen()));
        let panics = Waker::from(Arc::new(Panics));
        assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        event.notify(usize::MAX);
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
