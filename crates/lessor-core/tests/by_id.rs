//! Leases whose holder is known by its lease id only, as those that a server grants.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use lessor_core::{Acquisition, Engine, Error, Lease, State};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn engine() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    (Engine::new(clock.driving(store)).unwrap(), clock)
}

fn granted(acquisition: Acquisition) -> Lease {
    match acquisition {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn state(engine: &Engine) -> State {
    engine.status("k").wait().unwrap().unwrap().state()
}

#[test]
fn a_detached_lease_is_not_abandoned_and_lapses_after_its_ttl() {
    let (engine, clock) = engine();
    let lease = granted(engine.acquire("k").ttl(TTL).wait().unwrap()).keep_alive();
    let (version, seen) = (lease.version(), lease.first_seen_at());
    let id = *lease.detach().lease_id();
    // A lease that is dropped is abandoned before the next one.
    drop(granted(engine.acquire("dropped").ttl(TTL).wait().unwrap()));
    while engine.status("dropped").wait().unwrap().unwrap().state() != State::Lapsed {
        thread::yield_now();
    }
    let view = engine.status("k").wait().unwrap().unwrap();
    assert_eq!((view.state(), view.ttl_left()), (State::InProgress, Some(TTL)));
    assert_eq!((view.version(), view.first_seen_at()), (version, seen));
    clock.advance(TTL);
    assert_eq!(state(&engine), State::Lapsed);
    assert!(engine.lease_handle("k", id).unwrap().complete("late").wait().unwrap().is_late());
}

#[test]
fn a_wait_for_a_change_ends_with_every_change_of_the_record_and_with_its_timeout() {
    let (engine, clock) = engine();
    let handle = granted(engine.acquire("k").ttl(TTL).wait().unwrap()).detach();
    let seen = || engine.status("k").wait().unwrap().unwrap();
    let change = || engine.wait_for_change("k", &seen(), HOUR);

    let waiting = change();
    handle.extend(TTL).wait().unwrap();
    assert_eq!(waiting.wait().unwrap().unwrap().version().as_u64(), 2);
    let waiting = change();
    handle.checkpoint("half").wait().unwrap();
    assert_eq!(waiting.wait().unwrap().unwrap().version().as_u64(), 3);
    let waiting = change();
    clock.advance(TTL);
    assert_eq!(waiting.wait().unwrap().unwrap().state(), State::Lapsed);
    let waiting = change();
    engine.forget("k").wait().unwrap();
    assert!(waiting.wait().unwrap().is_none());

    let _lease = granted(engine.acquire("k").ttl(2 * HOUR).wait().unwrap());
    let waiting = change();
    clock.advance(HOUR);
    assert_eq!(waiting.wait().unwrap().unwrap().state(), State::InProgress);
}

#[test]
fn a_sleeping_waiter_for_a_change_is_woken_by_an_extension_of_the_lease() {
    let (engine, _) = engine();
    let handle = granted(engine.acquire("k").ttl(TTL).wait().unwrap()).detach();
    let seen = engine.status("k").wait().unwrap().unwrap();
    let mut change = engine.wait_for_change("k", &seen, HOUR);
    block_on(async {
        // The waiter sleeps from its first poll on. The clock stands still, so nothing else wakes it.
        assert!(poll_once(&mut change).await.is_none());
        handle.extend(HOUR).await.unwrap();
        assert_eq!(change.await.unwrap().unwrap().version().as_u64(), 2);
    });
}

#[test]
fn metadata_as_text_is_stored_as_it_is() {
    let (engine, _) = engine();
    let json = r#"{"b": 18446744073709551616, "a": 1e400}"#;
    let _holder = granted(engine.acquire("k").metadata_json(json).wait().unwrap()).detach();
    let view = engine.status("k").wait().unwrap().unwrap();
    assert_eq!(view.metadata_json(), Some(json));
    // Such numbers cannot be read as a value, so the text is shown.
    assert_eq!(serde_json::to_value(&view).unwrap().get("metadata").unwrap(), json);
}

#[test]
fn p12_metadata_that_is_no_object_or_too_large_is_refused() {
    let (engine, _) = engine();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2041));
    for json in ["", "[]", "null", "\"{}\"", "{", "{\"a\":1} 2", "{\"a\":01}", &large] {
        let error = engine.acquire("k").metadata_json(json).wait().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. } | Error::TooLarge { .. }), "{json}: {error}");
    }
    assert!(engine.status("k").wait().unwrap().is_none());
    let largest = format!("{{\"a\":\"{}\"}}", "x".repeat(2040));
    let _holder = granted(engine.acquire("k").metadata_json(&largest).wait().unwrap()).detach();
}

#[test]
fn the_last_ttl_is_that_of_the_grant_or_of_its_last_renewal() {
    let (engine, clock) = engine();
    let last = || engine.status("k").wait().unwrap().unwrap().last_ttl();
    let handle = granted(engine.acquire("k").ttl(TTL).wait().unwrap()).detach();
    clock.advance(TTL / 2);
    assert_eq!(last(), Some(TTL));
    handle.extend(HOUR).wait().unwrap();
    clock.advance(TTL);
    handle.checkpoint("half").wait().unwrap();
    assert_eq!(last(), Some(HOUR));
    clock.advance(HOUR);
    assert_eq!((state(&engine), last()), (State::Lapsed, Some(HOUR)));
    let second = granted(engine.acquire("k").ttl(TTL).wait().unwrap()).detach();
    assert_eq!(last(), Some(TTL));
    assert_eq!(engine.status("k").wait().unwrap().unwrap().acquired_at(), clock.advance(Duration::ZERO));
    second.complete("done").wait().unwrap();
    assert_eq!(last(), None);
}
