//! Many asynchronous callers at once, on two worker threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::{Lessor, Receipt, Told, key, tell};

/// Something that guards work by a key without blocking a thread.
pub(crate) trait AsyncGuard: Send + Sync + 'static {
    /// Acquires `key` and, if granted, completes it with `receipt`.
    fn run(&self, key: &str, receipt: &Receipt) -> impl Future<Output = Told> + Send;
}

impl AsyncGuard for Lessor {
    async fn run(&self, key: &str, receipt: &Receipt) -> Told {
        let acquisition = self.0.acquire(key).await.expect("acquire");
        match tell(acquisition) {
            Ok(lease) => {
                lease.complete(receipt).await.expect("complete");
                Told::Done
            }
            Err(told) => told,
        }
    }
}

/// Cycles on fresh keys per second with `flights` callers, each of which begins its next cycle when the last one is done.
pub(crate) fn fly(runtime: &Runtime, guard: impl AsyncGuard, flights: u64, length: Duration) -> f64 {
    let guard = Arc::new(guard);
    repeat(runtime, flights, length, move |caller, n| {
        let guard = guard.clone();
        async move { assert_eq!(guard.run(&key(caller, n), &Receipt::new(n)).await, Told::Done) }
    })
}

/// How often `callers` have `work(caller, n)` done per second together.
pub(crate) fn repeat<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    callers: u64,
    length: Duration,
    work: impl Fn(u64, u64) -> F + Clone + Send + 'static,
) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (work, stop, done) = (work.clone(), stop.clone(), done.clone());
        let repeat = async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                work(caller, n).await;
                done.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
        };
        tasks.spawn_on(repeat, runtime.handle());
    }
    // Until all of them fly.
    std::thread::sleep(length / 4);
    let (before, begun) = (done.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(length);
    let per_second = (done.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(tasks.join_all());
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

pub(crate) fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
