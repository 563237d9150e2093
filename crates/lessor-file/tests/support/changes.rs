//! Computes the changes that an engine would send to a store, so that a test can send them itself.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lessor_core::store::{
    CasResult, Closing, ConditionalWrite, OwnedConditionalWrite, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{
    Cas, CompareAndSwap, Durability, Engine, Key, LeaseHandle, LeaseId, OnFailed, Pending, Record, Settings,
    StoreError, Timestamp, rules,
};
use parking_lot::Mutex;

/// The retention of an ended record, and the ttl of a lease.
pub(crate) const RETENTION: Duration = Duration::from_millis(500);
const TTL: Duration = Duration::from_secs(1);

/// An action on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Acquire,
    Complete,
    Fail,
    Extend,
    Release,
    Forget,
}

/// Returns the change that an action makes to a record, if it is allowed. `bytes` is the length of
/// the result.
pub(crate) fn change(
    key: &Key,
    seen: &Snapshot,
    act: Action,
    id: LeaseId,
    bytes: usize,
) -> Option<OwnedConditionalWrite> {
    if act == Action::Acquire {
        return acquire(seen, id);
    }
    static RECORDER: OnceLock<Mutex<Recorder>> = OnceLock::new();
    let changes = RECORDER.get_or_init(Mutex::default).lock();
    *changes.store.seen.lock() = Some(seen.clone());
    let held = changes.engine.lease_handle(key, id).unwrap();
    // The answer is meaningless; only the recorded change counts.
    ask(&changes.engine, &held, key, act, bytes);
    changes.store.written.lock().take()
}

fn ask(engine: &Engine, held: &LeaseHandle, key: &Key, act: Action, bytes: usize) {
    match act {
        Action::Complete => drop(held.complete_bytes(&vec![b'r'; bytes]).wait()),
        Action::Fail => drop(held.fail_with("broken", &"why ".repeat(bytes / 4)).wait()),
        Action::Extend => drop(held.extend(TTL * 2).wait()),
        Action::Release => drop(held.release().wait()),
        Action::Forget | Action::Acquire => drop(engine.forget_forced(key).wait()),
    }
}

fn acquire(seen: &Snapshot, lease_id: LeaseId) -> Option<OwnedConditionalWrite> {
    let request = rules::Acquire::new(lease_id, TTL).with(|options| {
        options.holder = Some("a worker".into());
        options.on_failed = OnFailed::Retry { max_attempts: 9, backoff: lessor_core::Backoff::NONE };
    });
    let command = rules::Command::Acquire(request);
    match rules::decide(seen.record.as_ref(), &command, seen.now, RETENTION) {
        rules::Decision::Write(write, _) => Some(write.change(seen.record.as_ref()).to_owned()),
        _ => None,
    }
}

struct Recorder {
    store: Arc<RecordingStore>,
    engine: Engine,
}

impl Default for Recorder {
    fn default() -> Self {
        let store = Arc::new(RecordingStore::default());
        let mut settings = Settings::default();
        settings.limits.retention = RETENTION;
        settings.schedule.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
        let engine = Engine::with_settings(Arc::new(Cas::new(Arc::clone(&store))), settings).unwrap();
        Self { store, engine }
    }
}

/// A store that returns one record and records the change.
#[derive(Debug, Default)]
struct RecordingStore {
    seen: Mutex<Option<Snapshot>>,
    written: Mutex<Option<OwnedConditionalWrite>>,
}

impl RecordingStore {
    fn now(&self) -> Timestamp {
        self.seen.lock().as_ref().map_or(Timestamp::EPOCH, |seen| seen.now)
    }
}

impl CompareAndSwap for RecordingStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.now()))
    }

    fn load(&self, _: &Key) -> Reply<Snapshot> {
        let nothing = StoreError::unavailable("nothing to show");
        Pending::ready(self.seen.lock().clone().ok_or(nothing))
    }

    fn compare_and_swap(&self, _: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        *self.written.lock() = Some(change.to_owned());
        Pending::ready(Ok(CasResult::Written))
    }

    fn scan(&self, _: Scan) -> Reply<Page> {
        Pending::ready(Ok(Page::new(Vec::new(), None, self.now())))
    }

    fn purge(&self, _: usize) -> Reply<Purged> {
        Pending::ready(Ok(Purged::default()))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}

/// Returns whether the record may be purged at that time.
pub(crate) fn may_be_purged(record: &Record, now: Timestamp) -> bool {
    record.purge_at() <= now
}
