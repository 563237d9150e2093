//! Outcomes are final, and repeated requests do not change them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lessor_core::{Acquisition, Backoff, Engine, Error, Lease, Message, OnFailed, OnLapsed, State};

use super::Factory;
use super::tools::*;
use crate::subject::Subject;

/// Tries every operation on a finished key, except an operator's `forget`.
fn try_everything(subject: &Subject, engine: &Engine, lease: &Lease) {
    let _ = engine.acquire("k").wait();
    let _ = engine.acquire("k").on_lapsed(OnLapsed::InDoubt).wait();
    let _ = engine.acquire("k").lease_id(*lease.lease_id()).wait();
    let stranger = engine.lease_handle("k", lease_id()).expect("a valid key");
    for held in [lease.handle(), stranger] {
        let _ = held.extend(LONG).wait();
        let _ = held.checkpoint(&"later").wait();
        let _ = held.complete(&"another").wait();
        let _ = held.fail("another").wait();
        let _ = held.cancel(None).wait();
        let _ = held.release().wait();
        let _ = held.abandon().wait();
        let _ = held.leave_in_doubt().wait();
    }
    let _ = engine.resolve("k").completed(&"another").wait();
    let _ = engine.resolve("k").failed("another").wait();
    let _ = engine.resolve("k").released().wait();
    let _ = engine.resolve("k").forced().released().wait();
    let _ = engine.cancel("k", None).wait();
    purge_all(&**subject.store());
}

/// No operation changes a completed record within its retention.
pub fn p3_a_completed_record_does_not_change(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(SHORT));
    lease.complete(&"the result").wait().expect("the holder may complete it");
    let before = bytes(&**subject.store(), "k");
    try_everything(&subject, &engine, &lease);
    subject.advance(OUTLIVE);
    try_everything(&subject, &engine, &lease);
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// No operation changes a failed record within its retention, unless a policy retries.
pub fn p3_a_failed_record_does_not_change(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(SHORT));
    lease.fail("the code").wait().expect("the holder may fail it");
    let before = bytes(&**subject.store(), "k");
    try_everything(&subject, &engine, &lease);
    subject.advance(OUTLIVE);
    try_everything(&subject, &engine, &lease);
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// A repeated acquire with the same lease id returns the same grant and writes nothing.
pub fn p6_a_repeated_acquire_returns_the_same_grant(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let id = lease_id();
    let first = take(engine.acquire("k").ttl(LONG).lease_id(id));
    let before = bytes(&**subject.store(), "k");
    let again = take(engine.acquire("k").ttl(LONG).lease_id(id));
    assert!(again.is_duplicate() && !first.is_duplicate());
    assert_eq!((again.token(), again.attempt()), (first.token(), first.attempt()));
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// A repeated complete returns the same answer and writes nothing.
pub fn p6_a_repeated_complete_writes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let first = lease.complete(&"result").wait().expect("the holder may complete it");
    let before = bytes(&**subject.store(), "k");
    let again = lease.complete(&"result").wait().expect("it may be sent again");
    assert_eq!((again.version(), again.is_late()), (first.version(), first.is_late()));
    assert!(again.is_duplicate() && !first.is_duplicate());
    let other = refusal(lease.complete(&"another").wait());
    assert!(matches!(other, Error::Finished { state: State::Completed, .. }), "{other:?}");
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// A repeated fail returns the same answer and writes nothing.
pub fn p6_a_repeated_fail_writes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let first = lease.fail("code").wait().expect("the holder may fail it");
    let before = bytes(&**subject.store(), "k");
    let again = lease.fail("code").wait().expect("it may be sent again");
    assert_eq!(again.version(), first.version());
    assert!(again.is_duplicate() && !first.is_duplicate());
    let other = refusal(lease.fail("another").wait());
    assert!(matches!(other, Error::Finished { state: State::Failed, .. }), "{other:?}");
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// A repeated release returns the same answer and writes nothing.
pub fn p6_a_repeated_release_writes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let first = lease.release().wait().expect("the holder may release it");
    let before = bytes(&**subject.store(), "k");
    let again = lease.release().wait().expect("it may be sent again");
    assert_eq!(again.version(), first.version());
    assert!(again.is_duplicate() && !first.is_duplicate());
    assert_eq!(bytes(&**subject.store(), "k"), before);
}

/// Later callers, on this engine or another, get the stored result byte for byte, up to 1 MiB.
pub fn a_result_is_replayed_byte_for_byte(factory: Factory<'_>) {
    let subject = factory();
    let (engine, other) = (subject.engine(), subject.engine());
    for (number, size) in [0, 1, 64, 1 << 20].into_iter().enumerate() {
        let key = format!("k{number}");
        let result: Vec<u8> = (0..=255).cycle().take(size).collect();
        let lease = take(engine.acquire(&key).ttl(LONG));
        lease.complete_bytes(&result).wait().expect("the holder may complete it");
        for engine in [&engine, &other] {
            let view = refused(engine.acquire(&key));
            assert_eq!(view.state(), State::Completed);
            assert!(view.result_bytes() == Some(&result), "a result of {size} bytes came back changed");
        }
    }
}

/// Later callers get the failure with its code and detail.
pub fn a_failure_is_replayed_by_default(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    take(engine.acquire("k")).fail_with("code", "detail").wait().expect("the holder may fail it");
    for _ in 0..3 {
        let view = refused(engine.acquire("k"));
        assert_eq!(view.state(), State::Failed);
        assert_eq!((view.error_code(), view.error_detail()), (Some("code"), Some("detail")));
        assert_eq!((view.attempt(), view.retry_after()), (1, None));
    }
    take(engine.acquire("c")).cancel(Some("why")).wait().expect("the holder may cancel it");
    assert_eq!(refused(engine.acquire("c")).error_code(), Some("canceled:why"));
}

/// A retry policy allows a failed key to be acquired again, up to its number of attempts.
pub fn a_failure_is_retried_if_the_policy_allows_it(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let retry = OnFailed::Retry { max_attempts: 3, backoff: Backoff::NONE };
    for attempt in 1..=3 {
        let lease = take(engine.acquire("k").on_failed(retry));
        assert_eq!(lease.attempt(), attempt);
        lease.fail("code").wait().expect("the holder may fail it");
    }
    assert_eq!(refused(engine.acquire("k").on_failed(retry)).state(), State::Failed);
    assert_eq!(refused(engine.acquire("k")).attempt(), 3);
}

/// After `forget`, the next acquire of the key is the first one. A live key is forgotten only by
/// force.
pub fn a_forgotten_key_can_be_acquired_again(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    assert!(!engine.forget("k").wait().expect("there is nothing to forget"));
    let lease = take(engine.acquire("k").ttl(LONG));
    let before = bytes(&**subject.store(), "k");
    assert!(matches!(engine.forget("k").wait(), Err(Error::Busy { .. })));
    assert_eq!(bytes(&**subject.store(), "k"), before);
    lease.complete(&1).wait().expect("the holder may complete it");
    assert!(engine.forget("k").wait().expect("an operator may forget it"));
    assert!(engine.status("k").wait().expect("the key can be looked up").is_none());
    assert!(engine.list().limit(10).wait().expect("the keys can be listed").entries.is_empty());
    assert!(!engine.forget("k").wait().expect("there is nothing to forget any more"));
    assert!(matches!(lease.complete(&1).wait(), Err(Error::NotFound)));
    assert_eq!(take(engine.acquire("k")).attempt(), 1);
}

/// Of many concurrent callers one runs the work, and all get its result.
pub fn once_runs_the_work_once(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    for round in 0..10 {
        let key = format!("round {round}");
        let runs = Arc::new(AtomicUsize::new(0));
        let caller = |number: usize| {
            let (engine, key, runs) = (engine.clone(), key.clone(), Arc::clone(&runs));
            in_background(move || {
                let work = |_: &Lease| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Message>(number)
                };
                engine.once(&key).ttl(LONG).run(work).expect("the work does not fail").into_value()
            })
        };
        let callers: Vec<_> = (0..RACERS).map(caller).collect();
        let results: Vec<_> =
            callers.iter().map(|caller| within_patience("a caller of `once`", caller)).collect();
        assert_eq!(runs.load(Ordering::SeqCst), 1, "number of runs");
        assert!(results.iter().all(|result| Some(result) == results.first()), "{results:?}");
        assert!(matches!(engine.acquire(&key).wait(), Ok(Acquisition::Completed(_))));
    }
}
