//! The cases: a workload on a store, by a number of callers, with its contenders.

use std::time::Duration;

use lessor_contention::Callers;

use crate::memory;
use crate::work::{Contender, Work};

/// The end of the process that filled a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Clean,
    Killed,
}

/// The durability of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A crash loses everything.
    Volatile,
    /// A crash loses nothing that was acknowledged.
    Durable,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Volatile => "appendonly no",
            Self::Durable => "appendfsync always",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    File,
    Redis,
}

/// A case: contenders that run the same workload.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) work: Work,
    pub(crate) callers: Callers,
    /// The length of a run as a multiple of the usual.
    pub(crate) factor: u32,
    pub(crate) mode: Mode,
    pub(crate) end: End,
    /// The contenders, or all of the store's if empty.
    only: &'static [&'static str],
}

/// All but the references, for workloads that need an expiry or notifications.
const NO_REFERENCE: &[&str] = &[
    "lessor",
    "dashmap by hand",
    "scc by hand",
    "quick_cache by hand",
    "Mutex<HashMap> by hand",
    "moka",
    "SQLite",
    "redb",
    "fjall",
    "sled",
    "LMDB",
    "by hand",
];
/// The contenders that remove old records.
const PURGING: &[&str] = &[
    "lessor",
    "dashmap by hand",
    "scc by hand",
    "quick_cache by hand",
    "Mutex<HashMap> by hand",
    "moka",
    "SQLite",
];
/// The contenders with an implementation for threads.
const BLOCKING: &[&str] = &["lessor", "by hand", "redis-benchmark"];
const LOCKS: &[&str] = &["lessor", "by hand", "rslock"];
const NO_LOCKS: &[&str] = &["lessor", "by hand"];
const ALONE: &[&str] = &["lessor", "bare log"];

const WAITERS: Callers = Callers::Tasks(1000);

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Redis => "redis",
        }
    }

    pub(crate) fn contenders(self) -> &'static [Contender] {
        match self {
            Self::Memory => &memory::CONTENDERS,
            #[cfg(feature = "all-stores")]
            Self::File => &crate::log::CONTENDERS,
            #[cfg(feature = "all-stores")]
            Self::Redis => &crate::redis::CONTENDERS,
            #[cfg(not(feature = "all-stores"))]
            Self::File | Self::Redis => &[],
        }
    }
}

impl Plan {
    fn new(store: Store, work: Work, callers: Callers, only: &'static [&'static str]) -> Self {
        Self { store, work, callers, factor: 1, mode: Mode::Volatile, end: End::Clean, only }
    }

    fn longer(self, factor: u32) -> Self {
        Self { factor, ..self }
    }

    /// Returns what distinguishes it from other cases with the same workload and store.
    pub(crate) fn setting(&self) -> Option<String> {
        match (self.store, self.work, self.end) {
            (Store::Redis, ..) => Some(self.mode.name().to_owned()),
            (_, Work::Open { .. }, End::Clean) => Some("after a close".to_owned()),
            (_, Work::Open { .. }, End::Killed) => Some("after kill -9".to_owned()),
            _ => None,
        }
    }

    pub(crate) fn contenders(&self) -> impl Iterator<Item = &'static Contender> {
        let takes_part = |contender: &&Contender| self.only.is_empty() || self.only.contains(&contender.name);
        self.store.contenders().iter().filter(takes_part)
    }

    pub(crate) fn length(&self, length: Duration) -> Duration {
        length * self.factor
    }
}

/// Returns all cases of the stores that are built in, in the order of the page.
pub(crate) fn all(records: u64) -> Vec<Plan> {
    let others = if cfg!(feature = "all-stores") { [in_files(records), on_redis()].concat() } else { vec![] };
    [in_memory(), others].concat()
}

fn zipf(requests: u64) -> Work {
    Work::Zipf { requests }
}

fn in_memory() -> Vec<Plan> {
    let plan = |work, callers, only| Plan::new(Store::Memory, work, callers, only);
    let takeover = Work::Takeover { leases: 50_000 };
    let mut plans = Vec::new();
    for (work, only) in [
        (Work::Fresh, &[][..]),
        (Work::Churn, &[]),
        (Work::Refused, &[]),
        (Work::HotReplays, &[]),
        (Work::ColdReplays, &[]),
        (zipf(300_000), &[]),
        (takeover, NO_REFERENCE),
        (Work::Renewals, NO_REFERENCE),
    ] {
        plans.extend([1, 2, 8].map(|threads| plan(work, Callers::Threads(threads), only)));
    }
    plans.push(plan(Work::Waiters, WAITERS, NO_REFERENCE));
    // Long enough for records that are half a second old to be removed during most of the run.
    plans.push(plan(Work::Purge, Callers::Threads(2), PURGING).longer(6));
    plans
}

fn in_files(records: u64) -> Vec<Plan> {
    let plan = |work, callers, only| Plan::new(Store::File, work, callers, only);
    let mut plans: Vec<Plan> =
        [1, 8, 64].map(|threads| plan(Work::Fresh, Callers::Threads(threads), &[])).into();
    plans.extend([
        plan(Work::Fresh, Callers::Tasks(10_000), ALONE).longer(2),
        plan(Work::Refused, Callers::Threads(8), &[]),
        plan(zipf(2_000), Callers::Threads(8), &[]),
        plan(Work::Takeover { leases: 1_000 }, Callers::Threads(8), NO_REFERENCE),
        plan(Work::Renewals, Callers::Threads(8), NO_REFERENCE),
        plan(Work::Waiters, WAITERS, NO_REFERENCE),
        plan(Work::Purge, Callers::Threads(8), PURGING).longer(6),
    ]);
    for end in [End::Clean, End::Killed] {
        plans.push(Plan { end, ..plan(Work::Open { records }, Callers::Threads(1), &[]) });
    }
    plans
}

fn on_redis() -> Vec<Plan> {
    let plan = |work, callers, only| Plan::new(Store::Redis, work, callers, only);
    let mut plans = Vec::new();
    for mode in [Mode::Volatile, Mode::Durable] {
        let tasks = [1, 64, 512].map(|count| plan(Work::Fresh, Callers::Tasks(count), &[]));
        let threads = [1, 8, 64].map(|count| plan(Work::Fresh, Callers::Threads(count), BLOCKING));
        let some = Callers::Tasks(64);
        let others = [
            plan(Work::Refused, some, LOCKS),
            plan(zipf(20_000), some, NO_LOCKS),
            plan(Work::Takeover { leases: 5_000 }, some, NO_LOCKS),
            plan(Work::Renewals, some, LOCKS),
            plan(Work::Waiters, WAITERS, NO_LOCKS),
        ];
        // Workloads without writes are the same with both.
        let others = others.into_iter().filter(|plan| mode == Mode::Volatile || plan.work != Work::Refused);
        let fresh = tasks.into_iter().chain(threads);
        plans.extend(fresh.chain(others).map(|plan| Plan { mode, ..plan }));
    }
    plans
}
