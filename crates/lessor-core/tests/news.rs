//! Waiters are woken by a write, whichever way it takes to the store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Spot, Swap};
use lessor_core::{Acquisition, Clock, Durability, Engine, Key, Lease, Record, State, Store, Timestamp};
use lessor_memory::MemoryStore;

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A clock that moves without a word: nothing but a write can end a wait.
#[derive(Debug, Default)]
struct Silent(AtomicU64);

impl Clock for Silent {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

#[derive(Debug)]
struct Counting {
    inner: Arc<MemoryStore>,
    clock: Arc<Silent>,
    in_place: bool,
    loads: AtomicUsize,
    /// So many µs pass before the next read.
    pause: AtomicU64,
}

impl Counting {
    fn new(in_place: bool) -> Arc<Self> {
        let clock = Arc::new(Silent(AtomicU64::new(1_000_000)));
        let inner = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
        Arc::new(Self { inner, clock, in_place, loads: AtomicUsize::new(0), pause: AtomicU64::new(0) })
    }

    /// Another way to the same records.
    fn twin(&self) -> Arc<Self> {
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        let (loads, pause) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { inner, clock, in_place: self.in_place, loads, pause })
    }
}

impl Store for Counting {
    fn now(&self) -> Reply<Timestamp> {
        self.inner.now()
    }
    fn load(&self, key: &Key) -> Reply<Seen> {
        self.clock.0.fetch_add(self.pause.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        let seen = self.inner.load(key);
        self.loads.fetch_add(1, Ordering::SeqCst);
        seen
    }
    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        self.inner.swap(key, change)
    }
    fn scan(&self, query: Scan) -> Reply<Page> {
        self.inner.scan(query)
    }
    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.inner.purge(limit)
    }
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.inner.close(closing)
    }
    fn glance(&self, key: &str, look: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        self.in_place && self.inner.glance(key, look)
    }
    fn edit(&self, key: &Key, edit: &mut dyn FnMut(&mut Spot<'_>)) -> bool {
        self.in_place && self.inner.edit(key, edit)
    }
    fn attach(&self, hints: Hints) {
        self.inner.attach(hints);
    }
}

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits in `waits`, whose store is `store`; once it has looked, `write` is done, and it has to wake up.
fn is_woken(waits: &Engine, store: &Counting, expected: State, write: impl FnOnce()) {
    let before = store.loads.load(Ordering::SeqCst);
    let waiting = waits.wait_for("key", HOUR);
    let waiting = thread::spawn(move || waiting.wait().unwrap().unwrap().state());
    while store.loads.load(Ordering::SeqCst) == before {
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
fn a_write_that_is_guessed_and_made_at_once_wakes_who_waits() {
    let store = Counting::new(false);
    let engine = Engine::new(store.clone()).unwrap();
    let lease = acquire(&engine);
    is_woken(&engine, &store, State::Completed, || {
        lease.complete("result").wait().unwrap();
    });
}

#[test]
fn an_edit_wakes_who_waits_in_another_engine() {
    let store = Counting::new(true);
    let twin = store.twin();
    let (writes, waits) = (Engine::new(store).unwrap(), Engine::new(twin.clone()).unwrap());
    let lease = acquire(&writes);
    is_woken(&waits, &twin, State::Completed, || {
        lease.complete("result").wait().unwrap();
    });
}

/// The story: a lease was given up by a clock that was read later than the call began. By the earlier reading it was still alive, so
/// that there seemed to be no news.
#[test]
fn a_lease_that_ends_by_a_later_reading_of_the_clock_wakes_who_waits() {
    let store = Counting::new(false);
    let engine = Engine::new(store.clone()).unwrap();
    let lease = acquire(&engine);
    is_woken(&engine, &store, State::Lapsed, || {
        // Less than after what waiters look again by themselves.
        store.pause.store(10_000, Ordering::SeqCst);
        lease.abandon().wait().unwrap();
    });
}
