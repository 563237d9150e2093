//! Waiters are woken by a write in any form.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{Reply, Snapshot};
use lessor_core::{Acquisition, Clock, Engine, Key, Lease, State, Store, Timestamp};
use lessor_memory::MemoryStore;
use lessor_testkit::{Layer, Layered, Retrying, SwapLayer};

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A clock that advances without notifications, so that only a write can end a wait.
#[derive(Debug, Default)]
struct Silent(AtomicU64);

impl Clock for Silent {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Counts loads, and lets time pass before one.
#[derive(Default)]
struct Counts {
    clock: Arc<Silent>,
    loads: AtomicUsize,
    /// The number of microseconds that pass before the next read.
    pause: AtomicU64,
}

struct Counting {
    inner: Arc<dyn Store>,
    counts: Arc<Counts>,
}

impl Counting {
    fn count(&self, key: &Key) -> Reply<Snapshot> {
        let Counts { clock, loads, pause } = &*self.counts;
        clock.0.fetch_add(pause.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        let seen = self.inner.load(key);
        loads.fetch_add(1, Ordering::SeqCst);
        seen
    }
}

impl Layer for Counting {
    fn below(&self) -> &dyn Store {
        &*self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.count(key)
    }
}

impl SwapLayer for Counting {
    fn below(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.count(key)
    }
}

/// An engine, and the counts of its store, which executes operations in one step or by a retry
/// loop.
struct Counted {
    engine: Engine,
    counts: Arc<Counts>,
    records: Arc<dyn Store>,
    in_one_step: bool,
}

impl Counted {
    fn new(in_one_step: bool) -> Self {
        let clock = Arc::new(Silent(AtomicU64::new(1_000_000)));
        let records = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
        Self::over(records, clock, in_one_step)
    }

    fn over(records: Arc<dyn Store>, clock: Arc<Silent>, in_one_step: bool) -> Self {
        let counts = Arc::new(Counts { clock, ..Counts::default() });
        let counting = Counting { inner: Arc::clone(&records), counts: Arc::clone(&counts) };
        let store: Arc<dyn Store> =
            if in_one_step { Arc::new(Layered(counting)) } else { Arc::new(Retrying::over(counting)) };
        Self { engine: Engine::new(store).unwrap(), counts, records, in_one_step }
    }

    /// Returns another engine over the same records.
    fn another(&self) -> Self {
        Self::over(Arc::clone(&self.records), Arc::clone(&self.counts.clock), self.in_one_step)
    }
}

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits in `waits`, whose loads `counts` counts. After the waiter has read the record, runs
/// `write`, which must wake it.
fn is_woken(waits: &Engine, counts: &Counts, expected: State, write: impl FnOnce()) {
    let before = counts.loads.load(Ordering::SeqCst);
    let waiting = waits.wait_for("key", HOUR);
    let waiting = thread::spawn(move || waiting.wait().unwrap().unwrap().state());
    while counts.loads.load(Ordering::SeqCst) == before {
        thread::yield_now();
    }
    thread::park_timeout(Duration::from_millis(20));
    write();
    for _ in 0..4000 {
        if waiting.is_finished() {
            assert_eq!(waiting.join().unwrap(), expected);
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("it is not woken by {expected}");
}

#[test]
fn a_guessed_write_that_succeeds_immediately_wakes_its_waiters() {
    let Counted { engine, counts, .. } = Counted::new(false);
    let lease = acquire(&engine);
    is_woken(&engine, &counts, State::Completed, || {
        lease.complete("result").wait().unwrap();
    });
}

#[test]
fn an_operation_in_one_step_wakes_waiters_in_another_engine() {
    let writes = Counted::new(true);
    let waits = writes.another();
    let lease = acquire(&writes.engine);
    is_woken(&waits.engine, &waits.counts, State::Completed, || {
        lease.complete("result").wait().unwrap();
    });
}

/// A lease was abandoned at a clock reading later than the beginning of the call. By the earlier
/// reading it was still live, so no notification was sent.
#[test]
fn a_lease_that_ends_at_a_later_clock_reading_wakes_its_waiters() {
    let Counted { engine, counts, .. } = Counted::new(false);
    let lease = acquire(&engine);
    is_woken(&engine, &counts, State::Lapsed, || {
        // Less than the polling interval of waiters.
        counts.pause.store(10_000, Ordering::SeqCst);
        lease.abandon().wait().unwrap();
    });
}
