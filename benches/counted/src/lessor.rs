//! lessor in memory, through its public API.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Lease, Settings};
use lessor_memory::MemoryStore;
use parking_lot::Mutex;

use crate::{Guard, Outcome, Receipt, TTL};

pub struct Lessor {
    // Dropped in this order.
    engine: Engine,
    held: Mutex<Vec<Lease>>,
    #[cfg_attr(not(test), expect(dead_code, reason = "it has an effect when it is dropped"))]
    store: LastOwner,
}

/// Waits, when it is dropped, until nothing else owns the store, and then frees it.
///
/// The engine's own thread is otherwise the last owner, and would free the records while the next
/// run is timed.
pub struct LastOwner(pub Arc<MemoryStore>);

/// The longest wait for that, in milliseconds. A leaked lease makes the wait time out.
const MAX_WAIT_MILLIS: u32 = 10_000;

impl Drop for LastOwner {
    fn drop(&mut self) {
        for _ in 0..MAX_WAIT_MILLIS {
            if Arc::strong_count(&self.0) == 1 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Default for Lessor {
    fn default() -> Self {
        let mut settings = Settings::default();
        settings.limits.default_ttl = TTL;
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::with_settings(store.clone(), settings).expect("the settings are valid");
        Self { engine, held: Mutex::default(), store: LastOwner(store) }
    }
}

impl Guard for Lessor {
    fn name(&self) -> &'static str {
        "lessor"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Outcome {
        match self.engine.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => {
                lease.complete(receipt).wait().expect("complete");
                Outcome::Done
            }
            Acquisition::InProgress(view) => Outcome::Refused(view.ttl_left().unwrap_or_default()),
            Acquisition::Completed(view) => Outcome::Replayed(view.result().expect("a receipt")),
            other => panic!("{other:?}"),
        }
    }

    fn hold(&self, key: &str) {
        match self.engine.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => self.held.lock().push(lease),
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_guard_frees_its_store() {
        let guard = Lessor::default();
        guard.hold("held");
        assert_eq!(guard.run("done", &Receipt::new(1)), Outcome::Done);
        let store = Arc::downgrade(&guard.store.0);
        assert_eq!(store.upgrade().expect("it is in use").len(), 2);
        drop(guard);
        assert!(store.upgrade().is_none());
    }
}
