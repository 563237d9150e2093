//! An in-memory store that a test can make fail or block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lessor_core::store::{CasResult, ChangeNotifier, ConditionalWrite, Purged, Reply, Snapshot};
use lessor_core::{Key, Pending, Store, StoreError, Timestamp};
use lessor_memory::MemoryStore;
use lessor_testkit::{ManualClock, Retrying, SwapLayer, swap};
use parking_lot::Mutex;

pub(crate) struct Switches {
    records: Arc<MemoryStore>,
    below: Arc<dyn Store>,
    /// True if `now` fails.
    pub(crate) clock_fails: AtomicBool,
    /// True if `load` fails.
    pub(crate) loads_fail: AtomicBool,
    /// The number of the next calls of `swap` that fail.
    pub(crate) failing_swaps: AtomicUsize,
    /// `purge` blocks while this is locked.
    pub(crate) purge_gate: Mutex<()>,
    /// The number of calls of `purge` that have begun.
    pub(crate) purges: AtomicUsize,
    pub(crate) loads: AtomicUsize,
    /// True if engines are not notified of writes by others.
    is_silent: bool,
}

/// A retry loop over an in-memory store with switches.
pub(crate) type Switched = Retrying<Switches>;

/// Returns a store with switches, whose engines are notified when the clock is advanced.
pub(crate) fn switched(clock: &ManualClock) -> (Arc<Switched>, Arc<dyn Store>) {
    over(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock, false)
}

/// Returns another store over the same records without hints, as another process has it.
#[allow(dead_code, reason = "not every test shares records")]
pub(crate) fn silent(records: &Arc<MemoryStore>, clock: &ManualClock) -> (Arc<Switched>, Arc<dyn Store>) {
    over(Arc::clone(records), clock, true)
}

fn over(records: Arc<MemoryStore>, clock: &ManualClock, is_silent: bool) -> (Arc<Switched>, Arc<dyn Store>) {
    let store = Arc::new(Retrying::over(Switches {
        below: Arc::clone(&records) as Arc<dyn Store>,
        records,
        clock_fails: AtomicBool::new(false),
        loads_fail: AtomicBool::new(false),
        failing_swaps: AtomicUsize::new(0),
        purge_gate: Mutex::new(()),
        purges: AtomicUsize::new(0),
        loads: AtomicUsize::new(0),
        is_silent,
    }));
    (Arc::clone(&store), clock.driving(store))
}

impl Switches {
    #[allow(dead_code, reason = "not every test purges")]
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn refused<T>() -> Reply<T> {
    Pending::ready(Err(StoreError::unavailable("switched off by the test")))
}

impl SwapLayer for Switches {
    fn below(&self) -> &Arc<dyn Store> {
        &self.below
    }

    fn now(&self) -> Reply<Timestamp> {
        if self.clock_fails.load(Ordering::SeqCst) { refused() } else { self.records.now() }
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if self.loads_fail.load(Ordering::SeqCst) { refused() } else { self.records.load(key) }
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let fails = |left: usize| left.checked_sub(1);
        if self.failing_swaps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return refused();
        }
        swap(&*self.records, key, change)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.purges.fetch_add(1, Ordering::SeqCst);
        let _open = self.purge_gate.lock();
        self.records.purge(limit)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        if !self.is_silent {
            self.records.subscribe(notifier);
        }
    }
}
