//! An in-memory store that a test can make fail or block.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Spot, Swap};
use lessor_core::{Clock, Durability, Key, Pending, Record, Store, StoreError, Timestamp};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use parking_lot::Mutex;

pub(crate) struct Switched {
    records: Arc<MemoryStore>,
    /// `now` fails.
    pub(crate) clock_fails: AtomicBool,
    /// `load` fails.
    pub(crate) loads_fail: AtomicBool,
    /// So many calls of `swap` fail, from now on.
    pub(crate) failing_swaps: AtomicUsize,
    /// `purge` blocks while this is locked.
    pub(crate) purge_gate: Mutex<()>,
    /// How many calls of `purge` have begun.
    pub(crate) purges: AtomicUsize,
    pub(crate) loads: AtomicUsize,
    /// The engine is notified of steps of this clock, and not of what others write.
    silent: Option<ManualClock>,
}

impl Switched {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self::over(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), None)
    }

    /// One more store over the same records, as another process would have it: without hints.
    #[allow(dead_code, reason = "not every test shares records")]
    pub(crate) fn silent(records: &Arc<MemoryStore>, clock: &ManualClock) -> Self {
        Self::over(Arc::clone(records), Some(clock.clone()))
    }

    #[allow(dead_code, reason = "not every test purges")]
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn over(records: Arc<MemoryStore>, silent: Option<ManualClock>) -> Self {
        Self {
            records,
            clock_fails: AtomicBool::new(false),
            loads_fail: AtomicBool::new(false),
            failing_swaps: AtomicUsize::new(0),
            purge_gate: Mutex::new(()),
            purges: AtomicUsize::new(0),
            loads: AtomicUsize::new(0),
            silent,
        }
    }
}

fn refused<T>() -> Reply<T> {
    Pending::ready(Err(StoreError::Unavailable { reason: "switched off by the test".to_owned() }))
}

impl Store for Switched {
    fn now(&self) -> Reply<Timestamp> {
        if self.clock_fails.load(Ordering::SeqCst) { refused() } else { self.records.now() }
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if self.loads_fail.load(Ordering::SeqCst) { refused() } else { self.records.load(key) }
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        let fails = |left: usize| left.checked_sub(1);
        if self.failing_swaps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return refused();
        }
        self.records.swap(key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.records.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.purges.fetch_add(1, Ordering::SeqCst);
        let _open = self.purge_gate.lock();
        self.records.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.records.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.records.close(closing)
    }

    fn glance(&self, _: &str, _: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        false
    }

    fn edit(&self, _: &Key, _: &mut dyn FnMut(&mut Spot<'_>)) -> bool {
        false
    }

    fn attach(&self, hints: Hints) {
        match &self.silent {
            Some(clock) => clock.on_step(hints),
            None => self.records.attach(hints),
        }
    }
}

impl fmt::Debug for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switched")
    }
}
