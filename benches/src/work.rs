//! The workloads. Each is the same for all contenders.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use lessor_contention::{Forget, Keys, LeaseService, Sample, Workload};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// A service that is measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) is_reference: bool,
    /// The facts that a reader needs to judge the figures.
    pub(crate) note: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Fresh,
    Churn,
    Refused,
    /// Replays of few keys, which stay in the processor's caches.
    HotReplays,
    /// Replays of many keys, which do not.
    ColdReplays,
    Zipf {
        requests: u64,
    },
    Takeover {
        leases: u64,
    },
    Waiters,
    Renewals,
    Purge,
    Open {
        records: u64,
    },
}

/// The retention of records, and the time between purges, where purging is measured.
const RETENTION: Duration = Duration::from_millis(500);
pub(crate) const PURGE_EVERY: Duration = Duration::from_millis(100);
/// The time between two polls of a service without notifications.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(10);

const RENEWED: u64 = 10_000;
const HOT: u64 = 10_000;
const COLD: u64 = 400_000;

/// 100,000 keys, of which about 240 get half of all requests.
static ZIPF: LazyLock<Keys> = LazyLock::new(|| Keys::zipf(100_000, 1.0));

impl Work {
    /// Returns the workload's name, its title, and a description of one operation.
    pub(crate) fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Fresh => ("fresh", "Fresh keys", "Acquire a new key, and complete it with 64 bytes."),
            Self::Churn => (
                "churn",
                "Churn",
                "Acquire a new key, complete it with 64 bytes, and remove the key that was completed 1,024 cycles earlier.",
            ),
            Self::Refused => {
                ("refused", "Refusals of one hot key", "Request a key that another caller holds.")
            }
            Self::HotReplays => (
                "hot",
                "Replays of 10,000 keys",
                "Request one of 10,000 completed keys, drawn uniformly, and receive its result.",
            ),
            Self::ColdReplays => (
                "cold",
                "Replays of 400,000 keys",
                "Request one of 400,000 completed keys, drawn uniformly, and receive its result.",
            ),
            Self::Zipf { .. } => (
                "zipf",
                "Hot set with duplicates",
                "Request one of 100,000 keys under a Zipf distribution with exponent 1. The first caller completes the key, and later callers receive its result.",
            ),
            Self::Takeover { .. } => (
                "takeover",
                "Hand-over of lapsed leases",
                "Acquire a key whose lease has lapsed, and complete it.",
            ),
            Self::Waiters => (
                "waiters",
                "A thousand waiters on one key",
                "From the start of the holder's completion until the last waiting caller has the result.",
            ),
            Self::Renewals => ("renewals", "Renewals of 10,000 live leases", "Extend one of 10,000 leases."),
            Self::Purge => (
                "purge",
                "Purge under load",
                "Acquire and complete a new key, while keys that were completed half a second ago are removed.",
            ),
            Self::Open { .. } => (
                "open",
                "Opening a full store",
                "From the opening of a store with completed keys (a million unless stated otherwise), in a new process, to its first reply.",
            ),
        }
    }

    /// Returns the retention of completed keys, where that matters.
    pub(crate) fn retention(self) -> Option<Duration> {
        (self == Self::Purge).then_some(RETENTION)
    }
}

/// The length of the warm-up of services that have files and connections.
const WARM_UP: Duration = Duration::from_millis(150);

/// Measures a service after a warm-up.
///
/// # Panics
/// If the service gives a wrong reply.
pub(crate) fn measure_warm(service: impl LeaseService, work: &Work, workload: &Workload) -> Sample {
    let service = Arc::new(service);
    workload.clone().duration(WARM_UP).key_prefix("warm-up:").fresh_keys(&service);
    let sample = run(&service, work, workload);
    close(service);
    sample
}

/// Measures a service in memory.
///
/// # Panics
/// If the service gives a wrong reply.
pub(crate) fn measure(service: impl Forget, work: &Work, workload: &Workload) -> Sample {
    let service = Arc::new(service);
    let sample = if *work == Work::Churn { workload.churn(&service) } else { run(&service, work, workload) };
    close(service);
    sample
}

fn run(service: &Arc<impl LeaseService>, work: &Work, workload: &Workload) -> Sample {
    match *work {
        Work::Fresh | Work::Purge => workload.fresh_keys(service),
        Work::Churn => unreachable!("churn is measured in memory only"),
        Work::Refused => workload.refusals(service),
        Work::HotReplays => workload.replays(service, HOT),
        Work::ColdReplays => workload.replays(service, COLD),
        // The share of replays rises during a run, so runs have the same number of requests. A slow
        // contender is stopped.
        Work::Zipf { requests } => {
            workload.clone().max_requests(requests).duration(TIME_LIMIT).requests(service, &ZIPF)
        }
        Work::Takeover { leases } => workload.handovers(service, leases),
        Work::Waiters => workload.waiters(service),
        Work::Renewals => workload.renewals(service, RENEWED),
        Work::Open { .. } => unreachable!("openings are measured in processes of their own"),
    }
}

const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Closes the service here, so that its end is not measured with the next one.
fn close(service: Arc<impl LeaseService>) {
    drop(Arc::into_inner(service).expect("no caller holds the service any more"));
}

/// A thread that removes old records periodically until it is dropped.
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

/// Notifications of waiting callers in this process, for stores that have none.
#[derive(Default)]
pub(crate) struct Notifications {
    /// Checked before the map is locked.
    waiting: AtomicUsize,
    waited_for: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Notifications {
    /// Waits until `find` returns the result of `key`.
    pub(crate) async fn wait<T>(&self, key: &str, find: impl Fn() -> Option<T>) -> T {
        loop {
            let notified = self.waited_for.lock().entry(key.to_owned()).or_default().clone().notified_owned();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let found = find();
            if found.is_none() {
                notified.await;
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Notifies all callers that wait for `key`.
    pub(crate) fn notify(&self, key: &str) {
        if self.waiting.load(Ordering::SeqCst) > 0
            && let Some(notify) = self.waited_for.lock().remove(key)
        {
            notify.notify_waiters();
        }
    }
}

/// Returns the runtime for all tasks, which has two workers.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    &RUNTIME
}
