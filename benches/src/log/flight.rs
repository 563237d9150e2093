//! Many asynchronous callers at once, on two worker threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lessor::Acquisition;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::{Lessor, Receipt, key};

/// Something that guards work by a key without blocking a thread.
pub(super) trait AsyncGuard: Send + Sync + 'static {
    /// Acquires a fresh key and completes it.
    fn run(&self, key: &str, receipt: &Receipt) -> impl Future<Output = ()> + Send;
}

impl AsyncGuard for Lessor {
    async fn run(&self, key: &str, receipt: &Receipt) {
        match self.0.acquire(key).await.expect("acquire") {
            Acquisition::Acquired(lease) => {
                lease.complete(receipt).await.expect("complete");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Cycles per second with `flights` callers, each of which begins its next cycle when the last one is done.
pub(super) fn fly(guard: impl AsyncGuard, flights: u64, length: Duration) -> f64 {
    let (guard, stop, done) =
        (Arc::new(guard), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let runtime = two_workers();
    let mut callers = JoinSet::new();
    for caller in 0..flights {
        let (guard, stop, done) = (guard.clone(), stop.clone(), done.clone());
        let fly = async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                guard.run(&key(caller, n), &Receipt::new(n)).await;
                done.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
        };
        callers.spawn_on(fly, runtime.handle());
    }
    // Until all of them fly.
    std::thread::sleep(length / 4);
    let (before, begun) = (done.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(length);
    let per_second = (done.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(callers.join_all());
    per_second
}

/// Completes `count` keys of thread 0.
pub(crate) fn fill(guard: Lessor, count: u64) {
    const CALLERS: u64 = 4096;
    let runtime = two_workers();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let guard = guard.clone();
        let fill = async move {
            for n in (caller..count).step_by(CALLERS as usize) {
                guard.run(&key(0, n), &Receipt::new(n)).await;
            }
        };
        callers.spawn_on(fill, runtime.handle());
    }
    runtime.block_on(callers.join_all());
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}
