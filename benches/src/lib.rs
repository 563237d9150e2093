//! What the benchmarks measure, written once for lessor and for every rival.

#![expect(clippy::disallowed_methods, reason = "the rivals keep time by themselves, and runs are timed")]

mod args;
mod flight;
pub mod log;
pub mod page;
pub mod redis;
mod report;
pub mod results;
mod rivals;
mod rounds;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use lessor::log::Opener;
use lessor::{Acquisition, Engine, Lease, LogStore, MemoryStore, Settings, Store};
use serde::{Deserialize, Serialize};

pub use rivals::{HandDashMap, HandMutexMap};

/// How long a lease lasts, here and at the rivals.
pub const TTL: Duration = Duration::from_secs(300);

/// The result of the guarded work: 64 bytes as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Receipt {
    pub charge: u64,
    pub status: String,
    pub amount: u32,
}

impl Receipt {
    pub fn new(n: u64) -> Self {
        Self {
            charge: 10_000_000_000_000_000 + n % 1_000_000_000,
            status: "captured".to_owned(),
            amount: 129_990 + (n % 10) as u32,
        }
    }
}

/// What an acquire came to.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// The work was done now.
    Done,
    /// Somebody holds the key for another so long.
    Refused(Duration),
    /// It had been done before.
    Replayed(Receipt),
}

/// Something that guards work by a key.
pub trait Guard: Send + Sync {
    fn name(&self) -> &'static str;

    /// Acquires `key` and, if granted, completes it with `receipt`.
    fn run(&self, key: &str, receipt: &Receipt) -> Told;

    /// Acquires `key` and keeps holding it.
    fn hold(&self, key: &str);

    /// Completes `count` keys of thread 0, in whatever way is quickest.
    fn fill(&self, count: u64) {
        for n in 0..count {
            self.run(&key(0, n), &Receipt::new(n));
        }
    }
}

/// lessor, through its public face.
#[derive(Clone)]
pub struct Lessor(Engine, #[expect(dead_code, reason = "closes the log when it goes")] Option<Arc<Closing>>);

/// A file log that is closed for good when its last user goes, so that the next run does not meet the rest of that.
struct Closing(Arc<LogStore>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close().expect("the log can be closed");
    }
}

impl Lessor {
    pub fn memory() -> Self {
        Self(Self::engine(Arc::new(MemoryStore::new())).expect("the settings are valid"), None)
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
        Ok(Self(Self::engine(store.clone())?, Some(Arc::new(Closing(store)))))
    }

    /// The store on the Redis server of `url`.
    pub fn redis(url: &str) -> Result<Self, String> {
        let mut settings = lessor::redis::Settings::default();
        settings.persistence = lessor::redis::Check::Ignore;
        let open = lessor::redis::Opener::new().settings(settings).open(url);
        Ok(Self(Self::engine(Arc::new(open.map_err(|error| error.to_string())?))?, None))
    }

    fn engine(store: Arc<dyn Store>) -> Result<Engine, String> {
        let mut settings = Settings::default();
        settings.default_ttl = TTL;
        Engine::with_settings(store, settings).map_err(|error| error.to_string())
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
            Acquisition::Acquired(lease) => std::mem::forget(lease),
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

/// A key as applications have them: a word, a colon and a number, 24 characters.
pub fn key(thread: u64, n: u64) -> String {
    format!("invoice:{thread:04}:{n:011}")
}
