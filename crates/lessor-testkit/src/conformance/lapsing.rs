//! The effects of time on leases and records.

use std::time::Duration;

use lessor_core::{Acquisition, Backoff, Error, GrantEnd, OnFailed, OnLapsed, State};

use super::Factory;
use super::tools::*;

const INSTANT: Duration = Duration::from_micros(1);

/// A lease is live before its expiry, and lapsed from its expiry on.
pub fn p7_a_lease_is_live_until_its_last_instant(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("p7_a_lease_is_live_until_its_last_instant") else { return };
    let engine = subject.engine();
    let first = take(engine.acquire("k").ttl(SHORT));
    clock.advance(SHORT - INSTANT);
    let view = refused(engine.acquire("k"));
    assert_eq!((view.state(), view.ttl_left()), (State::InProgress, Some(INSTANT)));
    first.extend(SHORT).wait().expect("it is live still");
    clock.advance(SHORT - INSTANT);
    assert_eq!(status(&engine, "k").state(), State::InProgress);
    clock.advance(INSTANT);
    assert_eq!(status(&engine, "k").state(), State::Lapsed);
    assert!(matches!(first.extend(SHORT).wait(), Err(Error::Lapsed)));
    assert_eq!(take(engine.acquire("k")).attempt(), 2);
}

/// A caller that acquires a lapsed key takes it over, and gets the label of the previous holder.
pub fn a_lapsed_lease_is_taken_over(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let stale = take(engine.acquire("k").ttl(SHORT).holder("first"));
    subject.advance(OUTLIVE);
    assert_eq!(status(&engine, "k").state(), State::Lapsed);
    let lease = take(engine.acquire("k").ttl(LONG).holder("second"));
    assert_eq!(lease.attempt(), 2);
    let former = lease.previous_grant().expect("there was one before");
    assert_eq!((former.ended(), former.holder()), (GrantEnd::Lapsed, Some("first")));
    assert!(lease.token() > stale.token());
    assert!(stale.is_lost() && !lease.is_lost());
    assert_eq!(status(&engine, "k").holder(), Some("second"));
}

/// The checkpoint of the previous holder is passed to its successor unchanged.
pub fn a_successor_gets_the_checkpoint(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let left: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let stale = take(engine.acquire("k").ttl(LONG));
    stale.checkpoint_bytes(b"earlier").wait().expect("the holder may");
    stale.checkpoint_bytes(&left).wait().expect("the holder may");
    stale.abandon().wait().expect("the holder may");
    let lease = take(engine.acquire("k").ttl(LONG));
    assert!(lease.previous_checkpoint_bytes() == Some(&left), "the checkpoint came back changed");
}

/// An outcome that is delivered late counts if there was no takeover, and is marked as late.
pub fn a_late_outcome_counts_before_a_takeover(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let leases = ["done", "failed", "back"].map(|key| take(engine.acquire(key).ttl(SHORT)));
    subject.advance(OUTLIVE);
    let [done, failed, back] = &leases;
    assert!(done.complete(&1).wait().expect("nobody took over").is_late());
    assert!(failed.fail("code").wait().expect("nobody took over").is_late());
    back.release().wait().expect("nobody took over");
    assert_eq!(status(&engine, "done").state(), State::Completed);
    assert_eq!(status(&engine, "failed").state(), State::Failed);
    assert_eq!(status(&engine, "back").state(), State::Released);
}

/// A lapsed lease cannot be extended.
pub fn extend_does_not_revive_a_lapsed_lease(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(SHORT));
    subject.advance(OUTLIVE);
    let before = bytes(&**subject.store(), "k");
    assert!(matches!(lease.extend(LONG).wait(), Err(Error::Lapsed)));
    assert!(matches!(lease.checkpoint(&1).wait(), Err(Error::Lapsed)));
    assert_eq!(bytes(&**subject.store(), "k"), before);
    assert_eq!(status(&engine, "k").state(), State::Lapsed);
}

/// Extending a lease by less than its remaining time does not change its end.
pub fn extend_never_shortens(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let first = lease.extend(LONG * 2).wait().expect("the holder may");
    let second = lease.extend(SHORT).wait().expect("the holder may");
    assert_eq!(second.expires_at(), first.expires_at());
    subject.advance(OUTLIVE);
    assert_eq!(status(&engine, "k").state(), State::InProgress);
}

/// With the at-most-once policy, a lapsed key is in doubt for all callers until an operator
/// resolves it.
pub fn a_lapsed_key_stays_in_doubt_until_it_is_resolved(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let ask = |key| engine.acquire(key).on_lapsed(OnLapsed::InDoubt).wait().expect("the store works");
    for key in ["done", "failed", "back"] {
        let lease = take(engine.acquire(key).ttl(LONG));
        assert!(engine.resolve(key).released().wait().is_err(), "a live lease is not in doubt");
        lease.abandon().wait().expect("the holder may");
        let before = bytes(&**subject.store(), key);
        for _ in 0..3 {
            assert!(matches!(ask(key), Acquisition::InDoubt(_)));
        }
        assert_eq!(bytes(&**subject.store(), key), before);
    }
    engine.resolve("done").completed(&7).wait().expect("it is in doubt");
    engine.resolve("failed").failed("code").wait().expect("it is in doubt");
    engine.resolve("back").released().wait().expect("it is in doubt");
    assert!(matches!(ask("done"), Acquisition::Completed(view) if view.result::<u8>().ok() == Some(7)));
    assert!(matches!(ask("failed"), Acquisition::Failed(view) if view.error_code() == Some("code")));
    assert!(matches!(ask("back"), Acquisition::Acquired(lease) if lease.attempt() == 2));
    assert!(matches!(engine.resolve("done").failed("late").wait(), Err(Error::Finished { .. })));
}

/// A key that its holder has left in doubt is granted only to a caller that finds out first whether
/// the work was done. The mark ends with the outcome.
pub fn a_key_left_in_doubt_is_granted_only_to_a_caller_that_reconciles(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(SHORT));
    lease.leave_in_doubt().wait().expect("the holder may");
    let before = bytes(&**subject.store(), "k");
    assert!(lease.leave_in_doubt().wait().expect("it is so already").is_duplicate());
    for policy in [OnLapsed::TakeOver, OnLapsed::InDoubt] {
        let answer = engine.acquire("k").on_lapsed(policy).wait().expect("the store works");
        assert!(matches!(answer, Acquisition::InDoubt(view) if view.is_in_doubt()), "{policy:?}");
    }
    assert_eq!(bytes(&**subject.store(), "k"), before);
    let next = take(engine.acquire("k").on_lapsed(OnLapsed::Reconcile).ttl(SHORT));
    assert_eq!((next.attempt(), status(&engine, "k").is_in_doubt()), (2, false));
    // After the lease has lapsed, nobody has taken the key over either.
    subject.advance(OUTLIVE);
    assert!(matches!(lease.leave_in_doubt().wait(), Err(Error::NotHolder { .. })));
    next.leave_in_doubt().wait().expect("nobody took over");
    assert!(matches!(engine.acquire("k").wait(), Ok(Acquisition::InDoubt(_))));
    assert!(next.complete(&7).wait().expect("nobody took over").is_late());
    let view = status(&engine, "k");
    assert_eq!((view.result::<u8>().ok(), view.is_in_doubt()), (Some(7), false));
}

/// A dropped lease lapses immediately, long before the end of its ttl.
pub fn a_dropped_lease_lapses_immediately(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    drop(take(engine.acquire("k").ttl(LONG)));
    eventually("the dropped lease lapses", || status(&engine, "k").state() == State::Lapsed);
    let lease = take(engine.acquire("k").ttl(LONG));
    assert_eq!(lease.previous_grant().map(|former| former.ended()), Some(GrantEnd::Lapsed));
}

/// After its retention a record counts as absent, whether or not it was purged.
pub fn a_record_is_absent_after_its_retention(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine_with(|settings| settings.limits.retention = SHORT);
    let done = take(engine.acquire("done").ttl(LONG));
    done.complete(&1).wait().expect("the holder may");
    let gone = take(engine.acquire("gone").ttl(LONG));
    gone.abandon().wait().expect("the holder may");
    subject.advance(OUTLIVE);
    for (key, lease) in [("done", &done), ("gone", &gone)] {
        assert!(engine.status(key).wait().expect("the key can be looked up").is_none(), "{key}");
        assert!(engine.result(key).wait().expect("the key can be looked up").is_none(), "{key}");
        assert!(matches!(lease.complete(&1).wait(), Err(Error::NotFound)), "{key}");
        let view = take(engine.acquire(key));
        assert_eq!(view.attempt(), 1, "{key}");
        assert_eq!(view.previous_grant(), None, "{key}");
    }
}

/// During a backoff, a failed key stays failed, and the answer contains the time to wait.
pub fn a_backoff_delays_the_next_attempt(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let retry = |wait| OnFailed::Retry { max_attempts: 5, backoff: Backoff::fixed(wait) };
    take(engine.acquire("k")).fail("code").wait().expect("the holder may");
    let view = refused(engine.acquire("k").on_failed(retry(LONG)));
    assert_eq!((view.state(), view.retry_after()), (State::Failed, Some(Duration::from_secs(5))));
    subject.advance(OUTLIVE);
    assert_eq!(take(engine.acquire("k").on_failed(retry(SHORT))).attempt(), 2);
    let Some(clock) = subject.exact_clock("a_backoff_delays_the_next_attempt, to its last instant") else {
        return;
    };
    take(engine.acquire("exact")).fail("code").wait().expect("the holder may");
    clock.advance(SHORT - INSTANT);
    let view = refused(engine.acquire("exact").on_failed(retry(SHORT)));
    assert_eq!(view.retry_after(), Some(INSTANT));
    clock.advance(INSTANT);
    assert_eq!(take(engine.acquire("exact").on_failed(retry(SHORT))).attempt(), 2);
}

/// A failure with a wait is retried by every caller, whatever its policy, and not before the wait is
/// over.
pub fn a_failure_with_a_wait_is_retried_by_every_caller_after_it(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    take(engine.acquire("k")).fail_retryable("throttled", SHORT).wait().expect("the holder may");
    subject.advance(OUTLIVE);
    assert_eq!(take(engine.acquire("k")).attempt(), 2);
    let name = "a_failure_with_a_wait_is_retried_by_every_caller_after_it, to its last instant";
    let Some(clock) = subject.exact_clock(name) else { return };
    let later = OnFailed::Retry { max_attempts: 5, backoff: Backoff::fixed(LONG) };
    let earlier = OnFailed::Retry { max_attempts: 5, backoff: Backoff::fixed(SHORT / 2) };
    for (key, policy) in [("replay", OnFailed::Replay), ("later", later)] {
        take(engine.acquire(key)).fail_retryable("throttled", SHORT).wait().expect("the holder may");
        clock.advance(SHORT - INSTANT);
        let view = refused(engine.acquire(key).on_failed(policy));
        assert_eq!((view.state(), view.retry_after()), (State::Failed, Some(INSTANT)), "{key}");
        assert_eq!(status(&engine, key).retry_after(), Some(INSTANT), "{key}");
        clock.advance(INSTANT);
        assert_eq!(take(engine.acquire(key).on_failed(policy)).attempt(), 2, "{key}");
    }
    take(engine.acquire("earlier")).fail_retryable("throttled", SHORT).wait().expect("the holder may");
    clock.advance(SHORT / 2);
    assert_eq!(take(engine.acquire("earlier").on_failed(earlier)).attempt(), 2);
}
