//! The workloads, the same for whoever is measured.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use lessor_contention::{Keys, LeaseService, Sample, Workload};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// Somebody to be measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) is_floor: bool,
    /// What has to be known to read the figures.
    pub(crate) note: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Fresh,
    Refused,
    /// So many requests.
    Zipf {
        draws: u64,
    },
    Takeover {
        leases: u64,
    },
    Waiters,
    Renewals,
    Purge,
    /// Opening so many records.
    Open {
        records: u64,
    },
}

/// How long records are kept where purging is measured, and how often it is done.
const RETENTION: Duration = Duration::from_millis(500);
pub(crate) const PURGE_EVERY: Duration = Duration::from_millis(100);
/// How often those look again whom nobody can tell.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(10);

const RENEWED: u64 = 10_000;

/// A hundred thousand keys, and half of all requests for some 240 of them.
static ZIPF: LazyLock<Keys> = LazyLock::new(|| Keys::zipf(100_000, 1.0));

impl Work {
    /// The workload's name, a title, and what one operation is.
    pub(crate) fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Fresh => (
                "fresh",
                "Fresh keys",
                "Acquire a key that nobody has asked for, and complete it with 64 bytes.",
            ),
            Self::Refused => {
                ("refused", "One hot key, held", "Ask for a key that somebody holds, and be told so.")
            }
            Self::Zipf { .. } => (
                "zipf",
                "Hot set with duplicates",
                "Ask for one of 100,000 keys under a Zipf distribution with exponent 1: work and complete it if it is the first time, else get its result.",
            ),
            Self::Takeover { .. } => (
                "takeover",
                "Hand-over of lapsed leases",
                "Acquire a key whose holder is gone and whose lease has lapsed, and complete it.",
            ),
            Self::Waiters => (
                "waiters",
                "A thousand waiters on one key",
                "From the begin of the holder's completion until the last of the waiters has the result.",
            ),
            Self::Renewals => ("renewals", "Renewals of 10,000 live leases", "Extend one of 10,000 leases."),
            Self::Purge => (
                "purge",
                "Purge under load",
                "Acquire and complete a fresh key, while whatever was completed half a second ago is dropped.",
            ),
            Self::Open { .. } => (
                "open",
                "Opening a full store",
                "From opening a store with finished records (a million unless it is said otherwise), in a new process, to its first answer.",
            ),
        }
    }

    /// How long finished records are kept, where that matters.
    pub(crate) fn retention(self) -> Option<Duration> {
        (self == Self::Purge).then_some(RETENTION)
    }
}

/// How long everybody works before anything is measured, where there are files that grow and connections to be made.
const WARM_UP: Duration = Duration::from_millis(150);

/// The same, for a guard that is warmed up first.
pub(crate) fn measure_warm(guard: impl LeaseService, work: &Work, workload: &Workload) -> Sample {
    let guard = Arc::new(guard);
    workload.clone().duration(WARM_UP).key_prefix("warm-up:").fresh_keys(&guard);
    measure_shared(guard, work, workload)
}

/// # Panics
/// If the guard does not keep what it is measured for.
pub(crate) fn measure(guard: impl LeaseService, work: &Work, workload: &Workload) -> Sample {
    measure_shared(Arc::new(guard), work, workload)
}

fn measure_shared(guard: Arc<impl LeaseService>, work: &Work, workload: &Workload) -> Sample {
    let sample = match *work {
        Work::Fresh | Work::Purge => workload.fresh_keys(&guard),
        Work::Refused => workload.refusals(&guard),
        // Requests get cheaper as more is done, so it counts how long as many take; slow ones are stopped at last.
        Work::Zipf { draws } => {
            workload.clone().max_requests(draws).duration(AT_LAST).requests(&guard, &ZIPF)
        }
        Work::Takeover { leases } => workload.handovers(&guard, leases),
        Work::Waiters => workload.waiters(&guard),
        Work::Renewals => workload.renewals(&guard, RENEWED),
        Work::Open { .. } => unreachable!("it is measured from outside"),
    };
    // Closed here, and not while the next one is measured.
    drop(Arc::into_inner(guard).expect("nobody else has it any more"));
    sample
}

const AT_LAST: Duration = Duration::from_secs(2);

/// Drops old records every so often, as people have it done; no longer than its owner is there.
pub(crate) struct Purger {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Purger {
    pub(crate) fn start(purge: impl Fn() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                purge();
                std::thread::park_timeout(PURGE_EVERY);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().expect("purging does not panic");
        }
    }
}

/// Wakes those who wait for a key in this process: what one would write beside a store that tells nobody.
#[derive(Default)]
pub(crate) struct Bells {
    /// Whoever rings looks at this first.
    waiting: AtomicUsize,
    bells: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Bells {
    /// The result of `key` that `look` finds, as soon as there is one.
    pub(crate) async fn wait<T>(&self, key: &str, look: impl Fn() -> Option<T>) -> T {
        loop {
            let rung = self.bells.lock().entry(key.to_owned()).or_default().clone().notified_owned();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let found = look();
            if found.is_none() {
                rung.await;
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// The result of `key` is there.
    pub(crate) fn ring(&self, key: &str) {
        if self.waiting.load(Ordering::SeqCst) > 0
            && let Some(bell) = self.bells.lock().remove(key)
        {
            bell.notify_waiters();
        }
    }
}

/// Two workers, for all who measure on tasks.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    &RUNTIME
}
