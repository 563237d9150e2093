use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use futures_lite::future;

use super::*;
use crate::data::key::Key;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::store::closing::Closing;
use crate::store::contract::Store;
use crate::store::notifier::ChangeNotifier;
use crate::store::operation::{Execution, Operation};
use crate::store::types::{Durability, Page, Purged, Reply, Scan};
use crate::sync::pending::Pending;

/// A store with a clock and without records.
#[derive(Debug, Default)]
struct OnlyAClock(AtomicU64);

fn no_records<T>() -> Reply<T> {
    Pending::ready(Err(StoreError::unavailable("this store has no records")))
}

impl Store for OnlyAClock {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()))
    }
    fn load(&self, _: &Key) -> Reply<Snapshot> {
        no_records()
    }
    fn execute(&self, _: &mut Operation<'_>) -> Execution {
        Execution::Later(no_records())
    }
    fn scan(&self, _: Scan) -> Reply<Page> {
        no_records()
    }
    fn purge(&self, _: usize) -> Reply<Purged> {
        no_records()
    }
    fn durability(&self) -> Durability {
        Durability::Volatile
    }
    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
    fn subscribe(&self, _: ChangeNotifier) {}
}

/// Thousands of leases that are abandoned together keep the thread for leases busy. A renewal that
/// becomes due meanwhile does not wait for the last of them.
#[test]
fn p7_a_timer_fires_although_there_is_always_a_task_to_run() {
    const DUE: u64 = 1_000_000;
    let store = Arc::new(OnlyAClock::default());
    let clock = Arc::new(EngineClock::new(store.clone()));
    let worker = Worker::start("lessor-test", clock, Notifier::new()).unwrap();
    let woken = Arc::new(AtomicBool::new(false));
    let mut sleep = worker.sleep_until(Timestamp::from_micros(DUE).unwrap());
    let renewal = Arc::clone(&woken);
    worker.spawner().spawn(async move {
        let was_early = future::poll_once(&mut sleep).await.is_none();
        sleep.await;
        renewal.store(was_early, Ordering::SeqCst);
    });
    let (sender, polls) = mpsc::channel();
    // The task is ready again after each poll, so the thread never runs out of tasks.
    worker.spawner().spawn(async move {
        store.0.store(DUE, Ordering::SeqCst);
        let mut count = 0;
        while !woken.load(Ordering::SeqCst) && count < 4 * TASKS_PER_CHECK {
            count += 1;
            future::yield_now().await;
        }
        sender.send(count).unwrap();
    });
    let polls = polls.recv().unwrap();
    assert!(polls < 4 * TASKS_PER_CHECK, "no timer fired while {polls} tasks ran");
}
