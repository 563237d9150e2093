//! Wakes callers. Their wakers are code of the application, and run on threads of the store.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Wakes a caller. If its waker panics, the panic ends here: the thread that wakes has others to serve.
pub(crate) fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of a caller panicked; the caller may not be polled again");
    }
}

/// A waker that never panics.
struct Shield(Waker);

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        wake(self.0.clone());
    }
}

/// Does `work`, whose primitives wake its caller by themselves, and many callers one after the other.
pub(crate) async fn shielded<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let waker = Waker::from(Arc::new(Shield(context.waker().clone())));
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
        wake(Waker::from(Arc::new(Panics)));
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
