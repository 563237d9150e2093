//! Callers of `once` that wait through the backoffs of failed work.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines are instants of the standard library")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future;
use lessor_core::{Acquisition, Backoff, Engine, FailureClass, Lease, Message, OnFailed, Once, OnceError};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

fn still() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::new(store).unwrap(), clock)
}

fn far() -> Instant {
    Instant::now() + 100_000 * SECOND
}

fn retried(engine: &Engine, backoff: Duration) -> Once<u32, Message> {
    engine.once("key").classify(move |_| FailureClass::retry(u32::MAX, Backoff::fixed(backoff)))
}

/// The time of a wait ran during the backoff, so that the caller did not wait for the one that ran
/// the work after it.
#[test]
fn a_backoff_does_not_count_as_a_wait_for_another_caller() {
    let (engine, clock) = still();
    let busy = retried(&engine, 10 * SECOND).run(|_| Err(Message::new("busy")));
    assert!(matches!(busy, Err(OnceError::Work { .. })));
    let must_not_run = async |_: &Lease| panic!("the work runs twice");
    let waits = retried(&engine, SECOND).wait_timeout(5 * SECOND).retry_until(far()).run_async(must_not_run);
    let mut waits = pin!(waits);
    assert!(future::block_on(future::poll_once(waits.as_mut())).is_none());
    // Another caller's policy allows an attempt before.
    let policy = OnFailed::Retry { max_attempts: 9, backoff: Backoff::fixed(Duration::ZERO) };
    let Acquisition::Acquired(lease) = engine.acquire("key").on_failed(policy).wait().unwrap() else {
        panic!("the policy allows an attempt")
    };
    clock.advance(10 * SECOND);
    for _ in 0..20 {
        let ended = future::block_on(future::poll_once(waits.as_mut()));
        assert!(ended.is_none(), "{ended:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    lease.complete(&7).wait().unwrap();
    assert_eq!(future::block_on(waits).unwrap().into_value(), 7);
}

/// Work that failed at once, with a backoff of zero, occupied its executor until the deadline. No
/// other task ran, such as a timeout.
#[test]
fn attempts_without_a_pause_let_other_tasks_run() {
    let (engine, _clock) = still();
    let runs = AtomicUsize::new(0);
    let fails = || match runs.fetch_add(1, Ordering::SeqCst) {
        0..100 => Err(Message::new("busy")),
        _ => Ok(7),
    };
    let call = retried(&engine, Duration::ZERO).retry_until(far()).run_async(async |_| fails());
    assert!(future::block_on(future::poll_once(pin!(call))).is_none());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let call = retried(&engine, Duration::ZERO).retry_until(far()).run_future(async |_| fails());
    assert!(future::block_on(future::poll_once(pin!(call))).is_none());
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// The caller was told to retry after the backoff of its class, although the failure that the work
/// itself had stored was final.
#[test]
fn a_failure_that_the_work_stored_itself_is_not_retried_by_the_class_of_its_error() {
    let (engine, _clock) = still();
    let fails = |lease: &Lease| {
        lease.fail("declined").wait().unwrap();
        Err(Message::new("declined"))
    };
    let failed = retried(&engine, SECOND).run(fails);
    assert!(matches!(failed, Err(OnceError::Work { retry_after: None, .. })), "{failed:?}");
    let policy = OnFailed::Retry { max_attempts: 9, backoff: Backoff::fixed(3 * SECOND) };
    engine.forget("key").wait().unwrap();
    let failed = retried(&engine, SECOND).on_failed(policy).run(fails);
    assert!(
        matches!(failed, Err(OnceError::Work { retry_after: Some(after), .. }) if after == 3 * SECOND),
        "{failed:?}"
    );
}

#[test]
fn work_that_is_unsure_runs_again_after_the_retention_of_its_record() {
    let (engine, clock) = still();
    let unsure = |_: &Message| FailureClass::unsure();
    let first = engine.once("key").classify(unsure).run(|_| Err::<u32, _>(Message::new("timed out")));
    assert!(matches!(first, Err(OnceError::InDoubt { .. })));
    clock.advance(7 * 24 * 3600 * SECOND);
    let again = engine.once("key").run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    assert_eq!(again.into_value(), 1);
}
