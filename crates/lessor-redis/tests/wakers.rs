//! The waker of one caller delays no other caller of the same store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use lessor_core::{Acquisition, Engine};
use support::Server;
use tools::{begin, end, eventually, lease, open_with};

mod support;
#[path = "support/tools.rs"]
mod tools;

/// A waker that blocks until it is released.
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

/// Regression: the store's reading thread ran the wakers itself. A waker that blocked delayed every
/// other reply, and with them the renewals of all leases.
#[test]
fn rule_15_a_blocking_waker_delays_neither_replies_nor_renewals() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let short = |settings: &mut lessor_redis::Settings| settings.deadline = Duration::from_millis(500);
    let engine = Engine::new(Arc::new(open_with(&server, &prefix, short).unwrap())).unwrap();
    let kept = lease(engine.acquire("kept").ttl(Duration::from_secs(1)).wait()).keep_alive();
    let blocks = Arc::new(Blocks::default());
    let waker = Waker::from(Arc::clone(&blocks));
    let closed = blocks.gate.lock().unwrap();
    let mut requests = Vec::new();
    let mut start = |number: usize| {
        let mut request = engine.acquire(&format!("{number}")).send();
        if Pin::new(&mut request).poll(&mut Context::from_waker(&waker)).is_pending() {
            requests.push(request);
        }
    };
    let beside = |number: usize| {
        let (engine, key) = (engine.clone(), format!("next {number}"));
        let beside = begin(move || lease(engine.acquire(&key).wait()).complete(&number).wait().unwrap());
        end("a caller beside it is answered", &beside);
    };
    for number in 0..20 {
        start(number);
        beside(number);
    }
    // More wakers than there are threads for blocking ones.
    (20..100).for_each(&mut start);
    beside(20);
    eventually("no thread is left for wakers", || blocks.blocked.load(Ordering::SeqCst) >= 64);
    let version = |engine: &Engine| engine.status("kept").wait().unwrap().unwrap().version().as_u64();
    let before = version(&engine);
    eventually("the lease is renewed", || version(&engine) > before + 4);
    beside(21);
    assert!(!kept.is_lost());
    drop(closed);
    for request in requests {
        assert!(matches!(request.wait().unwrap(), Acquisition::Acquired(_)));
    }
}
