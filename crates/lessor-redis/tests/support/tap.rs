//! A store that passes everything on to a Redis store, tells of doubtful writes, and can stop the engine's timers.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::store::{Change, Reply, Seen, Swap};
use lessor_core::{Key, Store, StoreError, Timestamp};
use lessor_redis::RedisStore;
use lessor_testkit::{Retrying, SwapLayer, swap};

type OnDoubt = dyn Fn() + Send + Sync;

#[derive(Clone)]
pub(crate) struct Tap {
    store: Arc<dyn Store>,
    /// What the engine is told the time is, so that none of its timers is ever due.
    still: Option<Timestamp>,
    on_doubt: Option<Arc<OnDoubt>>,
    doubts: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
}

impl Tap {
    pub(crate) fn new(store: &Arc<RedisStore>) -> Self {
        Self {
            store: Arc::clone(store) as Arc<dyn Store>,
            still: None,
            on_doubt: None,
            doubts: Arc::default(),
            loads: Arc::default(),
        }
    }

    /// An engine on it looks at the store when it is asked to or told to, and never because time has passed.
    pub(crate) fn without_timers(mut self) -> Self {
        self.still = Some(self.store.now().wait().unwrap());
        self
    }

    /// Does `this` when a write has ended in doubt, before the engine hears of it.
    pub(crate) fn on_doubt(mut self, this: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_doubt = Some(Arc::new(this));
        self
    }

    /// Returns a store that carries out operations by a retry loop over this.
    pub(crate) fn store(&self) -> Arc<Retrying<Self>> {
        Arc::new(Retrying::over(self.clone()))
    }

    /// How many writes have ended in doubt.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    /// How many loads were answered with a record, or with that there is none.
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

    fn load(&self, key: &Key) -> Reply<Seen> {
        let loads = Arc::clone(&self.loads);
        self.store.load(key).map(move |seen| {
            loads.fetch_add(u64::from(seen.is_ok()), Ordering::SeqCst);
            seen
        })
    }

    fn compare_and_swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        let tap = self.clone();
        swap(&*self.store, key, change).map(move |swap| {
            if matches!(swap, Err(StoreError::Indeterminate { .. })) {
                tap.doubts.fetch_add(1, Ordering::SeqCst);
                if let Some(on_doubt) = &tap.on_doubt {
                    on_doubt();
                }
            }
            swap
        })
    }
}
