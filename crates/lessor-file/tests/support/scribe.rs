//! Makes the changes that an engine would send to a store, so that a test can send them itself and knows each of them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lessor_core::store::{Change, Closing, OwnedChange, Page, Purged, Reply, Scan, Seen, Swap};
use lessor_core::{
    Durability, Engine, Held, Key, LeaseId, OnFailed, OnLapsed, Pending, Record, Settings, Store, StoreError,
    Timestamp, machine,
};
use parking_lot::Mutex;

/// How long an ended record is kept, and how long a lease is.
pub(crate) const RETENTION: Duration = Duration::from_millis(500);
const TTL: Duration = Duration::from_secs(1);

/// What somebody does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Acquire,
    Complete,
    Fail,
    Extend,
    Release,
    Forget,
}

/// The change that this makes to a record at that time, if it is allowed. `bytes` is the result's length.
pub(crate) fn change(key: &Key, seen: &Seen, act: Act, id: LeaseId, bytes: usize) -> Option<OwnedChange> {
    if act == Act::Acquire {
        return acquire(seen, id);
    }
    static SCRIBE: OnceLock<Mutex<Scribe>> = OnceLock::new();
    let scribe = SCRIBE.get_or_init(Mutex::default).lock();
    *scribe.desk.seen.lock() = Some(seen.clone());
    let held = scribe.engine.held(key, id).unwrap();
    // The answer is the scribe's own; only what was to be written counts.
    ask(&scribe.engine, &held, key, act, bytes);
    scribe.desk.written.lock().take()
}

fn ask(engine: &Engine, held: &Held, key: &Key, act: Act, bytes: usize) {
    match act {
        Act::Complete => drop(held.complete_bytes(&vec![b'r'; bytes]).wait()),
        Act::Fail => drop(held.fail_with("broken", &"why ".repeat(bytes / 4)).wait()),
        Act::Extend => drop(held.extend(TTL * 2).wait()),
        Act::Release => drop(held.release().wait()),
        Act::Forget | Act::Acquire => drop(engine.forget_forced(key).wait()),
    }
}

fn acquire(seen: &Seen, lease_id: LeaseId) -> Option<OwnedChange> {
    let request = machine::Acquire {
        lease_id,
        ttl: TTL,
        holder: Some("somebody".into()),
        metadata: None,
        fingerprint: None,
        on_failed: OnFailed::Retry { max_attempts: 9, backoff: lessor_core::Backoff::NONE },
        on_lapsed: OnLapsed::TakeOver,
    };
    let command = machine::Command::Acquire(request);
    match machine::decide(seen.record.as_ref(), &command, seen.now, RETENTION) {
        machine::Decision::Write(write, _) => Some(write.change(seen.record.as_ref()).to_owned()),
        _ => None,
    }
}

struct Scribe {
    desk: Arc<Desk>,
    engine: Engine,
}

impl Default for Scribe {
    fn default() -> Self {
        let desk = Arc::new(Desk::default());
        let mut settings = Settings::default();
        settings.retention = RETENTION;
        settings.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
        let engine = Engine::with_settings(Arc::clone(&desk) as Arc<dyn Store>, settings).unwrap();
        Self { desk, engine }
    }
}

/// A store that shows one record and keeps what was to be written.
#[derive(Debug, Default)]
struct Desk {
    seen: Mutex<Option<Seen>>,
    written: Mutex<Option<OwnedChange>>,
}

impl Desk {
    fn now(&self) -> Timestamp {
        self.seen.lock().as_ref().map_or(Timestamp::EPOCH, |seen| seen.now)
    }
}

impl Store for Desk {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.now()))
    }

    fn load(&self, _: &Key) -> Reply<Seen> {
        let nothing = StoreError::Unavailable { reason: "nothing to show".to_owned() };
        Pending::ready(self.seen.lock().clone().ok_or(nothing))
    }

    fn swap(&self, _: &Key, change: &Change<'_>) -> Reply<Swap> {
        *self.written.lock() = Some(change.to_owned());
        Pending::ready(Ok(Swap::Stored))
    }

    fn scan(&self, _: Scan) -> Reply<Page> {
        Pending::ready(Ok(Page { entries: Vec::new(), next: None, now: self.now() }))
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

/// Whether that record may be gone at that time.
pub(crate) fn may_be_purged(record: &Record, now: Timestamp) -> bool {
    record.purge_at() <= now
}
