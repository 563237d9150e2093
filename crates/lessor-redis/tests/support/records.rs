//! Records and changes as an engine writes them, for tests that call a store directly.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use lessor_core::rules::{Acquire, Command, Decision, HolderCommand, decide};
use lessor_core::store::{CasResult, ConditionalWrite};
use lessor_core::{Key, LeaseId, Record, Store, StoreError, Timestamp};
use lessor_redis::RedisStore;

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Returns a grant with a ttl of one hour, and its lease id.
pub(crate) fn granted(now: Timestamp) -> (Record, LeaseId) {
    let lease_id = LeaseId::random().unwrap();
    let ttl = Duration::from_secs(3600);
    let acquire = Acquire::new(lease_id, ttl);
    (written(None, &Command::Acquire(acquire), now, ttl), lease_id)
}

pub(crate) fn written(
    record: Option<&Record>,
    command: &Command,
    now: Timestamp,
    retention: Duration,
) -> Record {
    match decide(record, command, now, retention) {
        Decision::Write(change, _) => change.next,
        other => panic!("{other:?}"),
    }
}

/// Returns a record whose retention ended long ago.
pub(crate) fn over(now: Timestamp) -> Record {
    let then = now.saturating_sub(Duration::from_secs(3600));
    let (record, lease_id) = granted(then);
    written(Some(&record), &Command::Holder(lease_id, HolderCommand::Release), then, Duration::from_secs(1))
}

pub(crate) fn put(store: &RedisStore, key: &str, next: &Record) -> Result<CasResult, StoreError> {
    let change = ConditionalWrite::new(None, next);
    lessor_testkit::swap(store, &Key::new(key).unwrap(), &change).wait()
}

/// Stores a record that is too old for a fresh grant, by replacing a grant that was made now.
pub(crate) fn put_old(store: &RedisStore, key: &str, next: &Record) {
    let (grant, _) = granted(now(store));
    let put = put(store, key, &grant).unwrap();
    assert!(matches!(put, CasResult::Written), "{put:?}");
    let change = ConditionalWrite::new(Some(&grant), next);
    let swap = lessor_testkit::swap(store, &Key::new(key).unwrap(), &change).wait().unwrap();
    assert!(matches!(swap, CasResult::Written), "{swap:?}");
}

pub(crate) fn is_there(store: &RedisStore, text: &str) -> Result<bool, StoreError> {
    store.load(&key(text)).wait().map(|seen| seen.record.is_some())
}

pub(crate) fn now(store: &RedisStore) -> Timestamp {
    store.now().wait().unwrap()
}
