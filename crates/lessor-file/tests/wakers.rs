//! A waker of a caller neither ends nor blocks the threads of the log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use lessor_core::{Acquisition, Engine};
use lessor_file::{FileStore, Settings};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;

/// The number of times that a waker panicked.
#[derive(Default)]
struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a waker that panics");
    }
}

/// Blocks until it is released.
#[derive(Default)]
struct Blocks {
    gate: Mutex<()>,
    blocked: AtomicUsize,
}

impl Wake for Blocks {
    fn wake(self: Arc<Self>) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().unwrap());
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls as an executor does, so that the threads of the log do the work.
fn as_a_task<T>(mut future: impl Future<Output = T> + Unpin) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

/// A waker that panicked ended the writer thread. No task was woken any more, and the log could not
/// be closed.
#[test]
fn a_waker_that_panics_ends_no_thread_of_the_log() {
    let panics = Arc::new(Panics::default());
    assert_woken_beside(&Waker::from(Arc::clone(&panics)));
    assert!(panics.0.load(Ordering::SeqCst) > 0, "no task had to be woken");
}

/// A waker that blocked stopped the writer thread, and with it the renewal of all other leases.
#[test]
fn a_waker_that_blocks_stops_no_thread_of_the_log() {
    let blocks = Arc::new(Blocks::default());
    let closed = blocks.gate.lock().unwrap();
    assert_woken_beside(&Waker::from(Arc::clone(&blocks)));
    assert!(blocks.blocked.load(Ordering::SeqCst) > 0, "no task had to be woken");
    drop(closed);
}

/// Checks that tasks are woken although others, with this waker, are woken before them.
fn assert_woken_beside(waker: &Waker) {
    let mut settings = Settings::default();
    settings.cache = 0;
    let builder = FileStore::builder().settings(settings).clock(Arc::new(ManualClock::new()));
    let store = Arc::new(builder.open_on(Arc::new(SimDisk::new())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    let mut asked = Vec::new();
    for number in 0..20 {
        let mut ask = engine.acquire(&format!("{number}")).send();
        if Pin::new(&mut ask).poll(&mut Context::from_waker(waker)).is_pending() {
            asked.push(ask);
        }
        // The task that is woken after it is woken all the same.
        let Acquisition::Acquired(lease) =
            as_a_task(engine.acquire(&format!("next {number}")).send()).unwrap()
        else {
            panic!()
        };
        as_a_task(lease.complete(&number)).unwrap();
        // The record is read back by the reading thread.
        assert!(matches!(
            as_a_task(engine.acquire(&format!("next {number}")).send()),
            Ok(Acquisition::Completed(_))
        ));
    }
    for ask in asked {
        assert!(matches!(as_a_task(ask).unwrap(), Acquisition::Acquired(_)));
    }
    store.close().unwrap();
}
