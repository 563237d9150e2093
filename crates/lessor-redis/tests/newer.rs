//! A newer release has written a record with a required field that this release does not know. The key is refused by name,
//! and nothing is changed on the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Engine, Error, ErrorKind, LeaseId, Store};
use lessor_redis::RedisStore;
use support::Server;
use tools::{lease, record};

mod support;
#[path = "support/tools.rs"]
mod tools;

const KEY: &str = "newer";

/// Sets the bit of field 14 in the record on the server. The third byte of the bits replaces the first
/// one of the fields, which nobody can read any more.
fn plant(server: &Server, name: &str, record: &[u8]) {
    let mut numbers = record.get(18..).unwrap();
    for _ in 0..7 {
        let end = numbers.iter().position(|byte| *byte < 0x80).unwrap();
        numbers = numbers.get(end + 1..).unwrap();
    }
    let [first, second, ..] = *numbers else { panic!("the record is cut short") };
    assert!(first >= 0x80 && second < 0x40, "two bytes, without the bit");
    let at = record.len() - numbers.len() + 1;
    let script = "redis.call('SETRANGE', KEYS[1], ARGV[1], string.char(ARGV[2], 1))";
    server.command(&["EVAL", script, "1", name, &at.to_string(), &(second | 0x80).to_string()]);
}

/// Stands for the bytes of the record, and the time at which the server drops it.
fn state(server: &Server, name: &str) -> (Vec<String>, String) {
    let hash = "return {redis.sha1hex(redis.call('GET', KEYS[1]))}";
    (support::query_all(server.port, &["EVAL", hash, "1", name]), server.command(&["PEXPIRETIME", name]))
}

fn assert_named<T: Debug>(what: &str, answer: Result<T, impl Into<Error>>) {
    let error: Error = answer.map_err(Into::into).expect_err(what);
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Broken, "{what}: {text}");
    for part in ["incompatible", "\"newer\"", "field 14,", "upgrade"] {
        assert!(text.contains(part), "{what}: {part:?} is missing in {text:?}");
    }
}

fn assert_refused(store: &Arc<RedisStore>, engine: &Engine, lease_id: LeaseId) {
    assert_named("load", store.load(&KEY.try_into().unwrap()).wait());
    assert_named("acquire", engine.acquire(KEY).wait());
    assert_named("acquire with its own lease id", engine.acquire(KEY).lease_id(lease_id).wait());
    assert_named("status", engine.status(KEY).wait());
    assert_named("forget", engine.forget_forced(KEY).wait());
    assert_named("resolve", engine.resolve(KEY).released().wait());
    let held = engine.lease_handle(KEY, lease_id).unwrap();
    assert_named("extend", held.extend(Duration::from_secs(60)).wait());
    assert_named("checkpoint", held.checkpoint("page 7").wait());
    assert_named("complete", held.complete("paid").wait());
    assert_named("fail", held.fail("declined").wait());
    assert_named("release", held.release().wait());
    assert_named("abandon", held.abandon().wait());
    assert_named("list", engine.list().limit(10).wait());
}

#[test]
fn p4_a_record_with_an_unknown_field_is_refused_by_name_and_stays_as_it_is() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    let prefix = support::prefix();
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(store.clone()).unwrap();
    lease(engine.acquire(KEY).holder("first").wait()).release().wait().unwrap();
    let granted = lease(engine.acquire(KEY).holder("second").wait());
    lease(engine.acquire("other").wait()).complete("paid").wait().unwrap();
    let name = format!("{prefix}:{KEY}");
    plant(&server, &name, &record(&store, KEY).unwrap().encode());
    let before = state(&server, &name);

    let lease_id = *granted.lease_id();
    assert_refused(&store, &engine, lease_id);
    assert_named("extend of a lease that was granted before", granted.extend(Duration::from_secs(9)).wait());
    assert_eq!(engine.purge(1_000).wait().unwrap(), 0);
    assert!(record(&store, "other").is_some());
    assert_eq!(state(&server, &name), before);

    // A store that never saw another record there.
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(store.clone()).unwrap();
    assert_refused(&store, &engine, lease_id);
    assert_eq!(state(&server, &name), before);
    std::mem::forget(granted);
}
