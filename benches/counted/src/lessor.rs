//! lessor in memory, through its public face.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Lease, Settings};
use lessor_memory::MemoryStore;
use parking_lot::Mutex;

use crate::{Guard, Receipt, TTL, Told};

pub struct Lessor {
    // Dropped in this order.
    engine: Engine,
    held: Mutex<Vec<Lease>>,
    #[cfg_attr(not(test), expect(dead_code, reason = "it is there to be dropped"))]
    rest: Rest,
}

/// Frees the store where it is dropped, and not before everybody else has let go of it.
///
/// The engine's own thread is the last to do so. Were it to free the records, it would while the next run is timed.
pub struct Rest(pub Arc<MemoryStore>);

/// How long, in milliseconds, to wait for that: whoever leaks a lease waits in vain.
const PATIENCE: u32 = 10_000;

impl Drop for Rest {
    fn drop(&mut self) {
        for _ in 0..PATIENCE {
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
        Self { engine, held: Mutex::default(), rest: Rest(store) }
    }
}

impl Guard for Lessor {
    fn name(&self) -> &'static str {
        "lessor"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        match self.engine.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => {
                lease.complete(receipt).wait().expect("complete");
                Told::Done
            }
            Acquisition::InProgress(view) => Told::Refused(view.ttl_left().unwrap_or_default()),
            Acquisition::Completed(view) => Told::Replayed(view.result().expect("a receipt")),
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
    fn nothing_of_a_run_is_left_for_the_next() {
        let guard = Lessor::default();
        guard.hold("held");
        assert_eq!(guard.run("done", &Receipt::new(1)), Told::Done);
        let store = Arc::downgrade(&guard.rest.0);
        assert_eq!(store.upgrade().expect("it is in use").len(), 2);
        drop(guard);
        assert!(store.upgrade().is_none());
    }
}
