//! The classes of failures in `once`, typed errors, retries, and reconciliation after a crash.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines are instants of the standard library")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future;
use lessor_core::{
    Acquisition, Backoff, Codec, Engine, Error, FailureClass, Lease, Message, OnFailed, OnLapsed, Once,
    OnceError, Outcome, Reconciled, State,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{Fault, Faults, Level, ManualClock};
use serde::{Deserialize, Serialize};

const TTL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Declined {
    NoFunds { missing: u64 },
    Busy,
    NotSent,
    TimedOut,
}

fn class(error: &Declined) -> FailureClass {
    match error {
        Declined::NoFunds { .. } => FailureClass::keep().code("no_funds"),
        Declined::Busy => FailureClass::retry(3, Backoff::fixed(SECOND)).code("busy"),
        Declined::NotSent => FailureClass::release(),
        Declined::TimedOut => FailureClass::unsure(),
    }
}

fn still() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::new(store).unwrap(), clock)
}

fn charge(engine: &Engine, key: &str) -> Once<String, Declined> {
    engine.once(key).classify(class)
}

type Charged = Result<Outcome<String>, OnceError<String, Declined>>;

fn fails_with(error: Declined) -> impl FnOnce(&Lease) -> Result<String, Declined> {
    move |_| Err(error)
}

fn must_not_run(_: &Lease) -> Result<String, Declined> {
    panic!("the work runs again")
}

fn succeeds(_: &Lease) -> Result<String, Declined> {
    Ok("receipt".to_owned())
}

/// Returns the error of the work, whether it is a replay, and the time until another attempt.
fn failure(charged: Charged) -> (Declined, bool, Option<Duration>) {
    match charged {
        Err(OnceError::Work { error, is_replay, retry_after, .. }) => (error, is_replay, retry_after),
        other => panic!("{other:?}"),
    }
}

fn state(engine: &Engine, key: &str) -> State {
    engine.status(key).wait().unwrap().unwrap().state()
}

/// The first caller got the error of its work, and each later one a string code in another variant.
#[test]
fn the_first_caller_and_every_later_one_get_the_same_error() {
    let (engine, _clock) = still();
    let error = Declined::NoFunds { missing: 42 };
    let first = failure(charge(&engine, "key").run(fails_with(error.clone())));
    assert_eq!(first, (error.clone(), false, None));
    let again = failure(charge(&engine, "key").run(must_not_run));
    assert_eq!(again, (error.clone(), true, None));
    // A caller that waited gets it too.
    let waiting = {
        let Acquisition::Acquired(lease) = engine.acquire("waited").wait().unwrap() else { panic!() };
        let engine = engine.clone();
        let waiting = std::thread::spawn(move || failure(charge(&engine, "waited").run(must_not_run)));
        lease.fail_as("no_funds", &error).wait().unwrap();
        waiting
    };
    assert_eq!(waiting.join().unwrap(), (error, true, None));
    assert_eq!(engine.status("key").wait().unwrap().unwrap().error_code(), Some("no_funds"));
}

/// A codec that refuses each value, for a reason that is a number.
struct Seven;

impl Codec<u64> for Seven {
    fn encode(&self, _: &u64) -> Result<Vec<u8>, Error> {
        Err(Error::codec("7"))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, Error> {
        Ok(7)
    }
}

#[test]
fn a_failure_without_an_error_of_the_expected_type_is_returned_as_a_view() {
    let (engine, _clock) = still();
    let code = |charged: Charged| match charged {
        Err(OnceError::Failed(view)) => view.error_code().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let panics = || charge(&engine, "panicked").run(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(code(charge(&engine, "panicked").run(must_not_run)), "panicked");
    let by_hand = charge(&engine, "by hand").run(|lease| {
        lease.fail_with("other", "no JSON").wait().unwrap();
        Ok(String::new())
    });
    assert!(matches!(by_hand, Err(OnceError::Overruled { state: State::Failed, .. })));
    assert_eq!(code(charge(&engine, "by hand").run(must_not_run)), "other");
    // The engine's own detail is no error of the work, even if it could be read as one.
    let seven = || engine.once::<u64, u64>("refused").codec(Seven);
    assert!(matches!(seven().run(|_| Ok(1)), Err(OnceError::Refused { work: Ok(1), .. })));
    assert!(matches!(seven().run(|_| Ok(1)), Err(OnceError::Failed(_))));
    // Another type of error was stored.
    let _ = engine.once("typed").run(|_| Err::<String, _>(7_u64));
    assert_eq!(code(charge(&engine, "typed").run(must_not_run)), "error");
}

#[test]
fn an_invalid_code_of_a_class_loses_no_failure() {
    let (engine, _clock) = still();
    for code in ["", "two\nlines"] {
        let once = engine.once::<(), Message>(format!("{code:?}"));
        let failed = once.classify(move |_| FailureClass::keep().code(code)).run(|_| Err(Message::new("no")));
        assert!(matches!(failed, Err(OnceError::Work { error, .. }) if error.as_str() == "no"));
        let view = engine.status(&format!("{code:?}")).wait().unwrap().unwrap();
        assert_eq!(view.error_code(), Some("error"));
    }
}

#[test]
fn a_retryable_failure_is_replayed_during_its_backoff_and_then_run_again_up_to_its_limit() {
    let (engine, clock) = still();
    for attempt in 1..=2 {
        let failed = failure(charge(&engine, "key").run(fails_with(Declined::Busy)));
        assert_eq!(failed, (Declined::Busy, false, Some(SECOND)), "attempt {attempt}");
        // Also for a caller that classifies nothing.
        let during: Charged = engine.once("key").run(must_not_run);
        assert_eq!(failure(during), (Declined::Busy, true, Some(SECOND)));
        clock.advance(SECOND);
    }
    let last = failure(charge(&engine, "key").run(fails_with(Declined::Busy)));
    assert_eq!(last, (Declined::Busy, false, None));
    clock.advance(10 * SECOND);
    assert_eq!(failure(charge(&engine, "key").run(must_not_run)), (Declined::Busy, true, None));
    assert_eq!(engine.status("key").wait().unwrap().unwrap().attempt(), 3);
}

#[test]
fn work_that_did_nothing_releases_the_key() {
    let (engine, _clock) = still();
    let released = charge(&engine, "key").run(fails_with(Declined::NotSent));
    assert!(matches!(released, Err(OnceError::Released(Err(Declined::NotSent)))));
    assert_eq!(state(&engine, "key"), State::Released);
    let next = charge(&engine, "key").run(succeeds).unwrap();
    assert_eq!((next.attempt(), next.is_replay()), (2, false));
}

/// With the default policy, the work of a holder that did not know its own outcome was run again.
#[test]
fn work_that_is_unsure_is_not_run_again_by_any_policy() {
    let (engine, clock) = still();
    let unsure = charge(&engine, "key").run(fails_with(Declined::TimedOut));
    assert!(matches!(unsure, Err(OnceError::InDoubt { error: Some(Declined::TimedOut), view: None, .. })));
    clock.advance(10 * TTL);
    for policy in [OnLapsed::TakeOver, OnLapsed::InDoubt] {
        let again = charge(&engine, "key").on_lapsed(policy).run(must_not_run);
        let Err(OnceError::InDoubt { error: None, view: Some(view), .. }) = again else {
            panic!("{again:?}")
        };
        assert!(view.is_in_doubt());
    }
    engine.resolve("key").completed("found at the bank").wait().unwrap();
    assert_eq!(charge(&engine, "key").run(must_not_run).unwrap().into_value(), "found at the bank");
}

/// Runs `call` on a thread, and advances the clock until it returns.
fn while_time_passes<R: Send>(clock: &ManualClock, call: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let running = scope.spawn(call);
        while !running.is_finished() {
            clock.advance(Duration::from_millis(100));
            std::thread::park_timeout(Duration::from_millis(1));
        }
        running.join().unwrap()
    })
}

fn far() -> Instant {
    Instant::now() + 1000 * TTL
}

#[test]
fn retry_until_runs_the_work_again_after_each_backoff() {
    let (engine, clock) = still();
    let runs = AtomicUsize::new(0);
    let work = |_: &Lease| match runs.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(Declined::Busy),
        _ => Ok("receipt".to_owned()),
    };
    let charged = while_time_passes(&clock, || charge(&engine, "key").retry_until(far()).run(work)).unwrap();
    assert_eq!((charged.attempt(), runs.load(Ordering::SeqCst)), (3, 3));
    // By the caller's own policy, which classifies nothing.
    let policy = OnFailed::Retry { max_attempts: 3, backoff: Backoff::fixed(SECOND) };
    let runs = Cell::new(0);
    let once = engine.once("policy").on_failed(policy).retry_until(far());
    let work = async |_: &Lease| {
        runs.set(runs.get() + 1);
        Err::<(), _>(Message::new("no"))
    };
    let ticking = clock.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let ticks = std::thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            ticking.advance(Duration::from_millis(100));
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    let failed = future::block_on(once.run_async(work));
    stop.store(true, Ordering::SeqCst);
    ticks.join().unwrap();
    assert!(matches!(failed, Err(OnceError::Work { is_replay: false, retry_after: None, .. })), "{failed:?}");
    assert_eq!(runs.get(), 3);
}

#[test]
fn a_caller_that_waits_for_a_retry_gets_the_outcome_of_whoever_runs_it() {
    let (engine, clock) = still();
    let first = failure(charge(&engine, "key").run(fails_with(Declined::Busy)));
    assert_eq!(first.2, Some(SECOND));
    let runs = AtomicUsize::new(0);
    let outcomes = while_time_passes(&clock, || {
        std::thread::scope(|scope| {
            let call = || {
                charge(&engine, "key").retry_until(far()).run(|_| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Ok("receipt".to_owned())
                })
            };
            let calls: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
            calls.into_iter().map(|call| call.join().unwrap().unwrap().into_value()).collect::<Vec<_>>()
        })
    });
    assert_eq!(outcomes, ["receipt"; 4]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_backoff_that_ends_after_the_deadline_is_not_waited_for() {
    let (engine, _clock) = still();
    // The clock stands still, so that a wait would not end.
    let soon = || Instant::now() + SECOND / 2;
    let own = charge(&engine, "key").retry_until(soon()).run(|_| Err(Declined::Busy));
    assert_eq!(failure(own), (Declined::Busy, false, Some(SECOND)));
    let other = charge(&engine, "key").retry_until(soon()).run(must_not_run);
    assert_eq!(failure(other), (Declined::Busy, true, Some(SECOND)));
}

/// Leaves `key` as a holder does that dies.
fn dies(engine: &Engine, clock: &ManualClock, key: &str) {
    let Acquisition::Acquired(lease) = engine.acquire(key).ttl(TTL).wait().unwrap() else { panic!() };
    std::mem::forget(lease);
    clock.advance(TTL);
}

fn with_look(engine: &Engine, key: &str, found: Reconciled<String>) -> Once<String, Declined> {
    let mut found = Some(found);
    charge(engine, key).reconcile(move |_| found.take().unwrap())
}

#[test]
fn reconcile_decides_after_a_crash_whether_the_work_runs() {
    let (engine, clock) = still();
    // Not on a new key, nor after a release.
    let looks = || charge(&engine, "new").reconcile(|_| panic!("looks without a crash"));
    assert!(matches!(looks().run(fails_with(Declined::NotSent)), Err(OnceError::Released(_))));
    assert!(!looks().run(succeeds).unwrap().is_reconciled());

    dies(&engine, &clock, "done");
    let done = with_look(&engine, "done", Reconciled::Done("found".to_owned())).run(must_not_run).unwrap();
    assert!(done.is_reconciled() && !done.is_replay() && done.value() == "found");
    assert_eq!(charge(&engine, "done").run(must_not_run).unwrap().into_value(), "found");

    dies(&engine, &clock, "not done");
    let ran = with_look(&engine, "not done", Reconciled::NotDone).run(succeeds).unwrap();
    assert!(!ran.is_reconciled() && ran.value() == "receipt" && ran.attempt() == 2);

    dies(&engine, &clock, "unknown");
    let unknown = with_look(&engine, "unknown", Reconciled::Unknown).run(must_not_run);
    assert!(matches!(unknown, Err(OnceError::InDoubt { error: None, .. })));
    let blind = charge(&engine, "unknown").run(must_not_run);
    assert!(matches!(blind, Err(OnceError::InDoubt { view: Some(_), .. })));
    // The next caller that looks may find out.
    let later = with_look(&engine, "unknown", Reconciled::Done("found".to_owned())).run(must_not_run);
    assert_eq!(later.unwrap().into_value(), "found");
}

#[test]
fn reconcile_follows_work_that_was_unsure() {
    let (engine, _clock) = still();
    let _ = charge(&engine, "key").run(fails_with(Declined::TimedOut));
    let looked = with_look(&engine, "key", Reconciled::Done("found".to_owned()));
    let found = future::block_on(looked.run_async(async |_| panic!("the work runs again")));
    assert_eq!(found.unwrap().into_value(), "found");
}

#[test]
fn a_panic_while_looking_leaves_the_key_in_doubt() {
    let (engine, clock) = still();
    dies(&engine, &clock, "key");
    let looks = || charge(&engine, "key").reconcile(|_| panic!("on purpose")).run(must_not_run);
    assert!(catch_unwind(AssertUnwindSafe(looks)).is_err());
    assert!(engine.status("key").wait().unwrap().unwrap().is_in_doubt());
}

#[test]
fn an_async_look_sees_the_lease_and_only_one_caller_looks_at_a_time() {
    let (engine, clock) = still();
    dies(&engine, &clock, "key");
    let looking = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let (engine, looking) = (engine.clone(), Arc::clone(&looking));
                scope.spawn(move || {
                    let look = move |lease: Arc<Lease>| {
                        let looking = Arc::clone(&looking);
                        async move {
                            assert_eq!(looking.fetch_add(1, Ordering::SeqCst), 0);
                            future::yield_now().await;
                            assert_eq!(lease.attempt(), 2);
                            Reconciled::Done("found".to_owned())
                        }
                    };
                    charge(&engine, "key").reconcile_async(look).run(must_not_run).unwrap().into_value()
                })
            })
            .collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == "found"));
    });
}

/// The point at which the holder dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    Never,
    BeforeTheEffect,
    AfterTheEffect,
}

/// Calls with a reconcile function until there is an outcome. The first call meets `fault` at its
/// write number `step`, and may die. Returns the number of effects.
fn effects_of(fault: Fault, step: usize, crash: Crash) -> usize {
    let clock = ManualClock::new();
    let inner = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let (store, faults) = Faults::over(inner, Level::Swaps);
    let engine = Engine::new(store).unwrap();
    let effects = Arc::new(AtomicUsize::new(0));
    faults.script(std::iter::repeat_n(Fault::None, step).chain([fault]));
    for call in 0..5 {
        let (seen, made) = (Arc::clone(&effects), Arc::clone(&effects));
        let look = move |_: &Lease| match seen.load(Ordering::SeqCst) {
            0 => Reconciled::NotDone,
            _ => Reconciled::Done("receipt".to_owned()),
        };
        let dies = async |point: Crash| {
            if crash == point && call == 0 {
                future::pending::<()>().await;
            }
        };
        let work = async move |_: &Lease| {
            dies(Crash::BeforeTheEffect).await;
            made.fetch_add(1, Ordering::SeqCst);
            dies(Crash::AfterTheEffect).await;
            Ok::<_, Message>("receipt".to_owned())
        };
        let call = async { Some(engine.once("key").ttl(TTL).reconcile(look).run_async(work).await) };
        let dropped = async {
            // Longer than all pauses of an outcome that is sent again.
            for _ in 0..2000 {
                clock.advance(Duration::from_millis(10));
                std::thread::park_timeout(Duration::from_micros(50));
                future::yield_now().await;
            }
            None
        };
        if let Some(Ok(outcome)) = future::block_on(future::or(call, dropped)) {
            assert_eq!(outcome.value(), "receipt");
            return effects.load(Ordering::SeqCst);
        }
        faults.clear();
        clock.advance(2 * TTL);
    }
    panic!("there is no outcome after {fault:?} at step {step}, {crash:?}");
}

#[test]
fn with_reconcile_the_effect_happens_once_for_every_fault_and_crash_at_every_step() {
    let covered = AtomicUsize::new(0);
    let covers = &|fault: Fault, crash: Crash| {
        for step in 0..6 {
            assert_eq!(effects_of(fault, step, crash), 1, "{fault:?} at step {step}, {crash:?}");
            covered.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        for fault in [Fault::None, Fault::Unavailable, Fault::LostRequest, Fault::LostReply] {
            for crash in [Crash::Never, Crash::BeforeTheEffect, Crash::AfterTheEffect] {
                scope.spawn(move || covers(fault, crash));
            }
        }
    });
    println!("{} combinations", covered.into_inner());
}

#[test]
fn an_invalid_key_is_reported_when_the_request_is_run() {
    let (engine, _clock) = still();
    let refused = engine.once("").run(|_| Ok::<_, Message>(1)).unwrap_err();
    assert!(matches!(refused, OnceError::Engine(Error::Key(_))), "{refused}");
    let refused = engine.once("key").stall_after(Duration::ZERO).run(|_| Ok::<_, Message>(1)).unwrap_err();
    assert!(matches!(refused, OnceError::Engine(Error::Invalid { what: "stall_after", .. })), "{refused}");
}
