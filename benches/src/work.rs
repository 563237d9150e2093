//! The workloads, the same for whoever is measured.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lessor::block_on;
use lessor_testkit::contention::{Crowd, Guard, Keys, Sample};
use tokio::runtime::{Builder, Runtime};

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
    Zipf,
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
/// How often those look again who are told of nothing.
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
            Self::Zipf => (
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

/// # Panics
/// If the guard does not keep what it is measured for.
pub(crate) fn measure(guard: impl Guard, work: &Work, crowd: &Crowd) -> Sample {
    let guard = Arc::new(guard);
    // The first one makes files, tables and connections.
    block_on(async {
        let grant = guard.acquire("warm-up", Duration::from_secs(60)).await.granted("warm-up");
        guard.complete("warm-up", grant, b"done").await;
    });
    match *work {
        Work::Fresh | Work::Purge => crowd.fresh(&guard),
        Work::Refused => crowd.refused(&guard),
        Work::Zipf => crowd.on_keys(&guard, &ZIPF),
        Work::Takeover { leases } => crowd.takeover(&guard, leases),
        Work::Waiters => crowd.waiters(&guard),
        Work::Renewals => crowd.renewals(&guard, RENEWED),
        Work::Open { .. } => unreachable!("it is measured from outside"),
    }
}

/// Two workers, for all who measure on tasks.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    &RUNTIME
}
