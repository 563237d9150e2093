//! A wrapper of a Redis store that counts indeterminate writes and can stop the engine's timers.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::store::{CasResult, ConditionalWrite, Reply, Snapshot};
use lessor_core::{Key, Store, StoreError, Timestamp};
use lessor_redis::RedisStore;
use lessor_testkit::{Retrying, SwapLayer, swap};

type OnIndeterminate = dyn Fn() + Send + Sync;

#[derive(Clone)]
pub(crate) struct Tap {
    store: Arc<dyn Store>,
    /// The fixed time that the engine reads, at which none of its timers is due.
    still: Option<Timestamp>,
    on_indeterminate: Option<Arc<OnIndeterminate>>,
    indeterminate_writes: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
}

impl Tap {
    pub(crate) fn new(store: &Arc<RedisStore>) -> Self {
        Self {
            store: Arc::clone(store) as Arc<dyn Store>,
            still: None,
            on_indeterminate: None,
            indeterminate_writes: Arc::default(),
            loads: Arc::default(),
        }
    }

    /// Stops the engine's timers: it reads the store only when it is called or notified.
    pub(crate) fn without_timers(mut self) -> Self {
        self.still = Some(self.store.now().wait().unwrap());
        self
    }

    /// Runs `this` when a write was indeterminate, before the engine receives the error.
    pub(crate) fn on_indeterminate(mut self, this: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_indeterminate = Some(Arc::new(this));
        self
    }

    /// Returns a store that carries out operations by a retry loop over this.
    pub(crate) fn store(&self) -> Arc<Retrying<Self>> {
        Arc::new(Retrying::over(self.clone()))
    }

    /// Returns the number of indeterminate writes.
    pub(crate) fn indeterminate_writes(&self) -> u64 {
        self.indeterminate_writes.load(Ordering::SeqCst)
    }

    /// Returns the number of successful loads.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }
}

impl SwapLayer for Tap {
    fn below(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn now(&self) -> Reply<Timestamp> {
        match self.still {
            Some(still) => lessor_core::Pending::ready(Ok(still)),
            None => self.store.now(),
        }
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let loads = Arc::clone(&self.loads);
        self.store.load(key).map(move |seen| {
            loads.fetch_add(u64::from(seen.is_ok()), Ordering::SeqCst);
            seen
        })
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let tap = self.clone();
        swap(&*self.store, key, change).map(move |swap| {
            if matches!(swap, Err(StoreError::Indeterminate(_))) {
                tap.indeterminate_writes.fetch_add(1, Ordering::SeqCst);
                if let Some(on_indeterminate) = &tap.on_indeterminate {
                    on_indeterminate();
                }
            }
            swap
        })
    }
}
