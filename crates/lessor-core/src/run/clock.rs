//! The store's time as the engine's background threads know it, also while the store does not
//! report it.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::data::time::{Clock, Monotonic, SystemClock, Timestamp};
use crate::store::contract::Store;

/// Reads the store's clock. While the store does not answer immediately, the time is estimated: the
/// last reading, plus the time that has passed on the machine's monotonic clock. So leases are
/// renewed and end in time during an outage too.
pub(crate) struct EngineClock {
    store: Arc<dyn Store>,
    last: Mutex<Reading>,
}

#[derive(Clone, Copy)]
struct Reading {
    store_time: Timestamp,
    at: Monotonic,
}

impl EngineClock {
    /// Starts with the wall clock, which is replaced by the first reading of the store's clock.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let first = Reading { store_time: SystemClock::new().now(), at: Monotonic::now() };
        let clock = Self { store, last: Mutex::new(first) };
        clock.now();
        clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        match self.store.now().try_take() {
            Ok(Ok(store_time)) => {
                *self.last.lock() = Reading { store_time, at: Monotonic::now() };
                store_time
            }
            _ => self.estimate(),
        }
    }

    fn estimate(&self) -> Timestamp {
        let last = *self.last.lock();
        last.store_time.saturating_add(Monotonic::now().saturating_since(last.at))
    }
}

impl fmt::Debug for EngineClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineClock")
    }
}
