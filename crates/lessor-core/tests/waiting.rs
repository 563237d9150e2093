//! Waiters are woken immediately, one reading serves all of them, and a lease that is kept alive is
//! lost in time or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod late;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use late::late;
use lessor_core::{Acquisition, Engine, Error, ErrorKind, Lease, OnLapsed, OnceError, Settings, State};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const TTL: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// Returns an engine whose clock stands still, so that only a wake-up ends a wait.
fn still() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::new(store).unwrap(), clock)
}

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Polls until `done` returns true, up to a generous deadline.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

#[test]
fn a_thousand_waiters_on_one_key_cost_one_reader() {
    let store = Arc::new(late(Arc::new(MemoryStore::new())));
    let engine = Engine::new(store.clone()).unwrap();
    let lease = acquire(&engine, "key");
    let waiting: Vec<_> = (0..1000).map(|_| engine.wait_for("key", HOUR)).collect();
    let executor = smol::Executor::new();
    let tasks: Vec<_> = waiting.into_iter().map(|wait| executor.spawn(wait)).collect();
    while executor.try_tick() {}
    eventually("the reader has looked", || store.loads.load(Ordering::SeqCst) > 0);

    lease.complete("result").wait().unwrap();
    smol::block_on(executor.run(async {
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().state(), State::Completed);
        }
    }));
    // One reading at the beginning and one per second, independent of the number of waiters.
    let loads = store.loads.load(Ordering::SeqCst);
    assert!(loads < 100, "{loads} reads for 1000 waiters");
}

/// A planted fault, a lost wake-up, was not detected, because work that ends before the first
/// reading needs no wake-up. Here it ends after that reading, and the clock stands still, so there
/// is no second one.
#[test]
fn a_waiter_is_woken_by_work_that_ends_after_its_first_reading() {
    for outcome in [State::Completed, State::Failed, State::Released] {
        let store = Arc::new(late(Arc::new(MemoryStore::with_clock(Arc::new(ManualClock::new())))));
        let engine = Engine::new(store.clone()).unwrap();
        let lease = acquire(&engine, "key");
        let before = store.loads.load(Ordering::SeqCst);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| engine.wait_for("key", HOUR).wait().unwrap().unwrap().state());
            eventually("the reader has looked", || store.loads.load(Ordering::SeqCst) > before);
            thread::park_timeout(Duration::from_millis(20));
            match outcome {
                State::Completed => lease.complete(&1).wait(),
                State::Failed => lease.fail("code").wait(),
                _ => lease.release().wait(),
            }
            .unwrap();
            assert_eq!(waiting.join().unwrap(), outcome);
        });
    }
}

#[test]
fn waiters_are_woken_by_every_end_of_a_lease() {
    type End = fn(Lease);
    let ends: [(State, End); 5] = [
        (State::Completed, |lease| assert!(lease.complete(&1).wait().is_ok())),
        (State::Failed, |lease| assert!(lease.fail("code").wait().is_ok())),
        (State::Failed, |lease| assert!(lease.cancel(None).wait().is_ok())),
        (State::Released, |lease| assert!(lease.release().wait().is_ok())),
        (State::Lapsed, drop),
    ];
    for (state, end) in ends {
        for _ in 0..50 {
            let (engine, _clock) = still();
            let lease = acquire(&engine, "key");
            thread::scope(|scope| {
                let waiting = scope.spawn(|| engine.wait_for("key", HOUR).wait().unwrap().unwrap().state());
                end(lease);
                assert_eq!(waiting.join().unwrap(), state);
            });
        }
    }
}

#[test]
fn waiters_are_woken_by_another_engine_over_the_same_store() {
    let clock = ManualClock::new();
    let memory = MemoryStore::with_clock(Arc::new(clock));
    let store = Arc::new(late(Arc::new(memory)));
    let (one, two) = (Engine::new(store.clone()).unwrap(), Engine::new(store.clone()).unwrap());
    for n in 0..20 {
        let key = format!("key {n}");
        let lease = acquire(&one, &key);
        let before = store.loads.load(Ordering::SeqCst);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| two.wait_for(&key, HOUR).wait().unwrap().unwrap().state());
            eventually("the reader has looked", || store.loads.load(Ordering::SeqCst) > before);
            thread::park_timeout(Duration::from_millis(5));
            lease.complete(&n).wait().unwrap();
            assert_eq!(waiting.join().unwrap(), State::Completed);
        });
    }
}

#[test]
fn a_wait_ends_with_its_timeout_and_returns_the_holder() {
    let (engine, clock) = still();
    let _lease = acquire(&engine, "key");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| engine.wait_for("key", SOON).wait().unwrap().unwrap());
        eventually("timed out", || {
            clock.advance(Duration::from_secs(1));
            waiting.is_finished()
        });
        assert_eq!(waiting.join().unwrap().state(), State::InProgress);
    });
    assert!(engine.wait_for("nobody's", HOUR).wait().unwrap().is_none());
}

#[test]
fn p1_one_of_many_concurrent_callers_takes_over_a_lapsed_lease() {
    let (engine, clock) = still();
    let stale = acquire(&engine, "key");
    let runs = AtomicUsize::new(0);
    thread::scope(|scope| {
        let twins: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let work = |lease: &Lease| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, String>(lease.token().as_u64())
                    };
                    engine.once("key").ttl(TTL).run(work).unwrap()
                })
            })
            .collect();
        eventually("all twins are done", || {
            clock.advance(Duration::from_secs(1));
            twins.iter().all(|twin| twin.is_finished())
        });
        let outcomes: Vec<_> = twins.into_iter().map(|twin| twin.join().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.is_replay()).count(), 1);
        assert!(outcomes.iter().all(|outcome| *outcome.value() > stale.token().as_u64()), "P2");
    });
    assert_eq!(runs.into_inner(), 1);
    assert!(matches!(stale.complete("stale").wait(), Err(Error::NotHolder { .. })));
    assert!(stale.is_lost());
}

#[test]
fn once_waits_at_most_for_its_timeout() {
    let (engine, _clock) = still();
    let _lease = acquire(&engine, "key");
    let outcome = engine.once("key").wait_timeout(Duration::ZERO).run(|_| Ok::<_, String>(1));
    assert!(matches!(outcome, Err(OnceError::InProgress(view)) if view.ttl_left() == Some(TTL)));
}

#[test]
fn keep_alive_extends_a_lease_until_max_hold() {
    let clock = ManualClock::new();
    let mut settings = Settings::default();
    settings.limits.max_hold = 10 * TTL;
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let engine = Engine::with_settings(store, settings).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    for _ in 0..27 {
        let before = engine.status("key").wait().unwrap().unwrap().version();
        clock.advance(TTL / 3);
        eventually("renewed", || engine.status("key").wait().unwrap().unwrap().version() > before);
        assert!(!lease.is_lost());
    }
    clock.advance(TTL * 2 / 3);
    clock.advance(TTL);
    assert!(lease.is_lost());
    lease.lost().wait();
    assert_eq!(engine.status("key").wait().unwrap().unwrap().state(), State::Lapsed);
    assert!(lease.complete("late but nobody else was there").wait().unwrap().is_late());
}

#[test]
fn p1_lost_fires_before_another_caller_can_be_granted_the_key() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key");
    assert!(!lease.is_lost());
    clock.advance(TTL - Duration::from_secs(1));
    lease.lost().wait();
    assert!(matches!(engine.acquire("key").wait().unwrap(), Acquisition::InProgress(_)));
    clock.advance(Duration::from_secs(1));
    assert!(matches!(engine.acquire("key").wait().unwrap(), Acquisition::Acquired(_)));
}

#[test]
fn a_forcibly_superseded_holder_is_notified_at_its_next_renewal() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive();
    assert_eq!(engine.forget("key").wait().unwrap_err().kind(), ErrorKind::Busy);
    assert!(engine.forget_forced("key").wait().unwrap());
    let _next = acquire(&engine, "key");
    thread::scope(|scope| {
        let lost = scope.spawn(|| lease.lost().wait());
        clock.advance(TTL / 3);
        lost.join().unwrap();
    });
    assert!(lease.is_lost());
}

#[test]
fn async_work_is_cancelled_when_its_lease_is_lost() {
    let (engine, clock) = still();
    let runs = thread::spawn(move || {
        let engine = engine.clone();
        futures_lite::future::block_on(async move {
            let work = engine.once("key").ttl(TTL).run_async(async |_| {
                engine.forget_forced("key").await.unwrap();
                std::future::pending::<()>().await;
                Ok::<_, String>(())
            });
            work.await.map(|_| ())
        })
    });
    eventually("cancelled", || {
        clock.advance(TTL / 3);
        runs.is_finished()
    });
    assert!(matches!(runs.join().unwrap(), Err(OnceError::Lost(None))));
}

#[test]
fn a_panic_is_stored_as_a_failure_and_propagated() {
    let (engine, _clock) = still();
    let run = || engine.once("key").run(|_| -> Result<(), String> { panic!("on purpose") });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    let Err(OnceError::Failed(view)) = engine.once("key").run(|_| Ok::<_, String>(())) else { panic!() };
    assert_eq!(view.error_code(), Some("panicked"));
}

#[test]
fn an_oversized_result_is_refused_and_its_work_not_repeated() {
    let (engine, _clock) = still();
    let large = "x".repeat(engine.settings().limits.max_result);
    let lease = acquire(&engine, "by hand");
    assert!(matches!(lease.complete(&large).wait(), Err(Error::TooLarge { what: "result", .. })));
    lease.complete("smaller").wait().unwrap();
    let outcome = engine.once("key").run(|_| Ok::<_, String>(large.clone()));
    let Err(OnceError::Refused { work: Ok(value), error: Error::TooLarge { .. }, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(value, large);
    let Err(OnceError::Failed(view)) = engine.once("key").run(|_| Ok::<_, String>(String::new())) else {
        panic!()
    };
    assert_eq!(view.error_code(), Some("result_refused"));
}

#[test]
fn work_may_end_its_own_lease() {
    let (engine, _clock) = still();
    let released = engine.once("key").run(|lease| {
        lease.release().wait().unwrap();
        Err::<(), _>("not today".to_owned())
    });
    assert!(matches!(released, Err(OnceError::Released(Err(error))) if error == "not today"));
    assert_eq!(engine.status("key").wait().unwrap().unwrap().state(), State::Released);
    let failed = engine.once("key").run(|lease| {
        lease.fail_with("card_declined", "try another").wait().unwrap();
        Err::<(), _>("declined".to_owned())
    });
    assert!(matches!(failed, Err(OnceError::Work { error, .. }) if error == "declined"));
    assert_eq!(engine.status("key").wait().unwrap().unwrap().error_code(), Some("card_declined"));
}

#[test]
fn a_failure_can_be_returned_as_a_value() {
    let (engine, _clock) = still();
    acquire(&engine, "key").fail_as("card_declined", &("insufficient funds", 4200)).wait().unwrap();
    let Acquisition::Failed(view) = engine.acquire("key").wait().unwrap() else { panic!() };
    assert_eq!(view.error_code(), Some("card_declined"));
    let detail: Option<(String, u32)> = view.failure().unwrap();
    assert_eq!(detail, Some(("insufficient funds".to_owned(), 4200)));
    assert_eq!(view.failure::<u32>().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_key_in_doubt_waits_for_an_operator() {
    let (engine, clock) = still();
    std::mem::forget(acquire(&engine, "key"));
    clock.advance(TTL);
    let run = || engine.once("key").on_lapsed(OnLapsed::InDoubt).run(|_| Ok::<_, String>("mine".to_owned()));
    assert!(matches!(run(), Err(OnceError::InDoubt { error: None, view: Some(_), .. })));
    engine.resolve("key").completed("found at the bank").wait().unwrap();
    assert_eq!(run().unwrap().into_value(), "found at the bank");
}

#[test]
fn the_engine_purges_periodically() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(clock.driving(store.clone())).unwrap();
    acquire(&engine, "key").complete("result").wait().unwrap();
    let far = engine.settings().limits.retention + 2 * engine.settings().schedule.purge_every;
    eventually("purged", || {
        clock.advance(far);
        store.is_empty()
    });
}

#[test]
fn closing_takes_no_longer_than_its_deadline() {
    let store = Arc::new(late(Arc::new(MemoryStore::new())));
    let engine = Engine::new(store.clone()).unwrap();
    let lease = acquire(&engine, "key");
    let shut = store.gate.lock();
    drop(lease);
    let closed = engine.close(Duration::from_millis(50)).wait().unwrap();
    assert!(!closed.gave_up && !closed.released, "{closed:?}");
    drop(shut);
    assert!(engine.close(SOON).wait().unwrap().is_complete());
}
