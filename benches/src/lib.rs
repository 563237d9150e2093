//! What the benchmarks measure, written once for lessor and for every rival.

#![expect(clippy::disallowed_methods, reason = "the rivals keep time by themselves, and runs are timed")]

mod args;
mod flight;
pub mod log;
pub mod redis;
mod report;
pub mod results;
mod rounds;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use lessor::log::Opener;
use lessor::{Acquisition, Engine, Lease, LogStore, MemoryStore, Settings, Store};
use parking_lot::Mutex;

pub use lessor_counted::{Guard, HandDashMap, HandMutexMap, Receipt, TTL, Told, key};

/// lessor, through its public face.
#[derive(Clone)]
pub struct Lessor(Engine, Arc<Ending>);

/// What outlives the engine, and is gone when its last user is: the next run must not meet the rest of this one.
struct Ending {
    held: Mutex<Vec<Lease>>,
    store: Kept,
}

enum Kept {
    Memory(Arc<MemoryStore>),
    File(Arc<LogStore>),
    Server,
}

impl Drop for Ending {
    fn drop(&mut self) {
        match &self.store {
            Kept::Memory(store) => {
                self.held.get_mut().clear();
                // The engine's own thread is the last to let go of the store. Were it to free the records, it would do so while the
                // next run is timed.
                while Arc::strong_count(store) > 1 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Kept::File(store) => {
                self.forget();
                store.close().expect("the log can be closed");
            }
            Kept::Server => self.forget(),
        }
    }
}

impl Ending {
    /// Leaves the leases to lapse by themselves.
    fn forget(&self) {
        self.held.lock().drain(..).for_each(std::mem::forget);
    }
}

impl Lessor {
    pub fn memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::over(store.clone(), Kept::Memory(store)).expect("the settings are valid")
    }

    /// The file log in `folder`.
    pub fn file(folder: &Path, promise: log::Promise) -> Result<Self, String> {
        let mut settings = lessor::log::Settings::default();
        settings.sync = match promise {
            log::Promise::Disk => lessor::log::Sync::Disk,
            log::Promise::Process => lessor::log::Sync::Process,
        };
        let open = Opener::new().settings(settings).open(folder);
        let store = Arc::new(open.map_err(|error| error.to_string())?);
        Self::over(store.clone(), Kept::File(store))
    }

    /// The store on the Redis server of `url`.
    pub fn redis(url: &str) -> Result<Self, String> {
        let mut settings = lessor::redis::Settings::default();
        settings.persistence = lessor::redis::Check::Ignore;
        let open = lessor::redis::Opener::new().settings(settings).open(url);
        Self::over(Arc::new(open.map_err(|error| error.to_string())?), Kept::Server)
    }

    fn over(store: Arc<dyn Store>, kept: Kept) -> Result<Self, String> {
        let mut settings = Settings::default();
        settings.default_ttl = TTL;
        let engine = Engine::with_settings(store, settings).map_err(|error| error.to_string())?;
        Ok(Self(engine, Arc::new(Ending { held: Mutex::default(), store: kept })))
    }
}

/// The lease, or what somebody who gets none is told.
fn tell(acquisition: Acquisition) -> Result<Lease, Told> {
    match acquisition {
        Acquisition::Acquired(lease) => Ok(lease),
        Acquisition::InProgress(view) => Err(Told::Refused(view.ttl_left().unwrap_or_default())),
        Acquisition::Completed(view) => Err(Told::Replayed(view.result().expect("a receipt"))),
        other => panic!("{other:?}"),
    }
}

impl Guard for Lessor {
    fn name(&self) -> &'static str {
        "lessor"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        match tell(self.0.acquire(key).wait().expect("acquire")) {
            Ok(lease) => {
                lease.complete(receipt).wait().expect("complete");
                Told::Done
            }
            Err(told) => told,
        }
    }

    fn hold(&self, key: &str) {
        match self.0.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => self.1.held.lock().push(lease),
            other => panic!("{other:?}"),
        }
    }

    fn fill(&self, count: u64) {
        flight::fill(self.clone(), count);
    }
}

/// Runs `work(thread, n)` for `count` numbers spread over `threads`, and says how long they took together.
pub fn timed(threads: u64, count: u64, work: impl Fn(u64, u64) + Sync) -> Duration {
    let start = Barrier::new(threads as usize + 1);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, work) = (&start, &work);
            let share = count / threads + u64::from(thread < count % threads);
            scope.spawn(move || {
                start.wait();
                for n in 0..share {
                    work(thread, n);
                }
            });
        }
        start.wait();
        let begun = Instant::now();
        // The scope joins the threads when it ends; what is measured is until then.
        Clocked(begun)
    })
    .0
    .elapsed()
}

struct Clocked(Instant);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_run_in_memory_is_left_for_the_next() {
        let guard = Lessor::memory();
        guard.hold("held");
        assert_eq!(guard.run("done", &Receipt::new(1)), Told::Done);
        let Kept::Memory(store) = &guard.1.store else { panic!("in memory") };
        let store = Arc::downgrade(store);
        drop(guard.clone());
        assert_eq!(store.upgrade().expect("it is in use").len(), 2);
        drop(guard);
        assert!(store.upgrade().is_none());
    }
}
