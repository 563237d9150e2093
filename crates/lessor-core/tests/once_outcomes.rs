//! The outcomes that `once` stores: for panics, values that cannot be stored, and leases that end
//! early.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::future;
use lessor_core::{
    Acquisition, Codec, Engine, Error, ErrorKind, Message, OnFailed, OnceError, Outcome, Settings, State,
    StoreError,
};
use lessor_memory::MemoryStore;
use lessor_testkit::faulty::FaultRates;
use lessor_testkit::{Fault, Faults, Level, ManualClock};
use serde::{Deserialize, Serialize};

const TTL: Duration = Duration::from_secs(60);

fn still() -> (Engine, ManualClock) {
    with(Settings::default())
}

fn with(settings: Settings) -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::with_settings(store, settings).unwrap(), clock)
}

fn faulty() -> (Engine, Faults, ManualClock) {
    let clock = ManualClock::new();
    let (store, faults) =
        Faults::over(clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())))), Level::Swaps);
    (Engine::new(store).unwrap(), faults, clock)
}

fn code(engine: &Engine, key: &str) -> Option<String> {
    engine.status(key).wait().unwrap().unwrap().error_code().map(str::to_owned)
}

/// Asserts that the work ran, that its failure is stored with this code, and that it does not run
/// again.
fn is_kept(engine: &Engine, key: &str, expected: &str) {
    assert_eq!(code(engine, key).as_deref(), Some(expected));
    let again = engine.once(key).run(|_| -> Result<String, String> { panic!("the work runs again") });
    assert!(matches!(again, Err(OnceError::Failed(view)) if view.error_code() == Some(expected)));
}

/// A small limit for results was applied to the text of the work's error. Nothing was stored, and
/// the work ran again each time.
#[test]
fn small_limits_lose_no_failure() {
    let mut settings = Settings::default();
    (settings.limits.max_result, settings.limits.max_error_detail) = (8, 0);
    let (engine, _clock) = with(settings);
    let failed = engine.once("error").run(|_| Err::<u8, _>("more than no bytes".to_owned()));
    let Err(OnceError::Refused { work: Err(text), error, .. }) = failed else { panic!("{failed:?}") };
    assert_eq!(text, "more than no bytes");
    assert!(matches!(error, Error::TooLarge { what: "error of the work", limit: 0, .. }), "{error}");
    is_kept(&engine, "error", "result_refused");
    let refused = engine.once("large").run(|_| Ok::<_, String>("more than eight bytes".to_owned()));
    let Err(OnceError::Refused { work: Ok(value), error, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(value, "more than eight bytes");
    assert!(matches!(error, Error::TooLarge { what: "result", .. }));
    is_kept(&engine, "large", "result_refused");
    // Callers have a separate limit.
    let Acquisition::Acquired(lease) = engine.acquire("by hand").wait().unwrap() else { panic!() };
    let refused = lease.fail_with("code", "x").wait().unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "error detail", limit: 0, .. }), "{refused}");
    lease.fail("code").wait().unwrap();
}

/// A codec's reason can be as long as the caller makes it, and no limit of the settings applies.
#[test]
fn a_long_reason_for_a_refused_result_is_truncated() {
    struct Refuses;
    impl Codec<u8> for Refuses {
        fn encode(&self, _: &u8) -> Result<Vec<u8>, Error> {
            Err(Error::codec("é".repeat(1 << 20)))
        }
        fn decode(&self, _: &[u8]) -> Result<u8, Error> {
            Ok(0)
        }
    }
    let (engine, _clock) = still();
    let refused = engine.once("key").codec(Refuses).run(|_| Ok::<_, String>(1));
    assert!(matches!(refused, Err(OnceError::Refused { work: Ok(1), .. })));
    let view = engine.status("key").wait().unwrap().unwrap();
    assert_eq!(view.error_detail().map(str::len), Some(4096));
}

/// The first caller got `Ok`, and each later one an error or another value.
#[test]
fn a_value_that_would_not_read_back_is_refused_and_returned() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Measured(f64);
    let (engine, _clock) = still();
    for (key, value) in [("nan", f64::NAN), ("infinite", f64::INFINITY)] {
        let outcome = engine.once(key).run(|_| Ok::<_, String>(Measured(value)));
        let Err(OnceError::Refused { work: Ok(back), error, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(back.0.to_bits(), value.to_bits());
        assert!(error.to_string().contains("NaN or infinite"), "{error}");
        is_kept(&engine, key, "result_refused");
    }
    let outcome = engine.once("nested").run(|_| Ok::<_, String>(Some(None::<u8>)));
    assert!(matches!(outcome, Err(OnceError::Refused { work: Ok(Some(None)), .. })));
    is_kept(&engine, "nested", "result_refused");
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    let outcome = engine.once("keys").run(|_| Ok::<_, String>(map.clone()));
    let Err(OnceError::Refused { work: Ok(value), .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(value, map);
    let outcome = engine.once("error").run(|_| Err::<(), _>(map.clone()));
    let Err(OnceError::Refused { work: Err(error), .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error, map);
    is_kept(&engine, "error", "result_refused");
    // A direct `complete` refuses the value as well, and writes nothing.
    let Acquisition::Acquired(lease) = engine.acquire("by hand").wait().unwrap() else { panic!() };
    assert_eq!(lease.complete(&f64::NAN).wait().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.checkpoint(&Some(())).wait().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.fail_as("code", &[f32::NAN]).wait().unwrap_err().kind(), ErrorKind::Invalid);
    let metadata = engine.acquire("other").metadata(&serde_json::Map::new()).fingerprint(&f64::NAN).wait();
    assert_eq!(metadata.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.complete(&None::<u8>).wait().unwrap().version().as_u64(), 2);
}

#[test]
fn an_empty_reason_counts_as_none() {
    let (engine, _clock) = still();
    for (key, reason, expected) in
        [("none", None, "canceled"), ("empty", Some(""), "canceled"), ("some", Some("why"), "canceled:why")]
    {
        let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!() };
        lease.cancel(reason).wait().unwrap();
        assert_eq!(code(&engine, key).as_deref(), Some(expected));
    }
    let Acquisition::Acquired(lease) = engine.acquire("lines").wait().unwrap() else { panic!() };
    assert_eq!(lease.cancel(Some("two\nlines")).wait().unwrap_err().kind(), ErrorKind::Invalid);
}

/// Returns whether the work ran in this call and returned this error.
fn is_own_error<T>(outcome: &Result<Outcome<T>, OnceError<T, String>>, expected: &str) -> bool {
    matches!(outcome, Err(OnceError::Work { error, is_replay: false, .. }) if error == expected)
}

/// Returns the value of the work from the error.
fn work<T, E>(outcome: Result<Outcome<T>, OnceError<T, E>>) -> Option<Result<T, E>> {
    outcome.err().and_then(OnceError::into_work)
}

/// Work that released its lease and returned a value got the error that the lease was lost. Work
/// that released its lease and returned an error got the error that its failure was stored. Neither
/// was true, and the value was lost.
#[test]
fn the_value_of_the_work_is_never_lost() {
    let (engine, _clock) = still();
    let value = || "done".to_owned();
    let released = engine.once("a").run(|lease| {
        lease.release().wait().unwrap();
        Ok::<_, String>(value())
    });
    assert!(matches!(&released, Err(OnceError::Released(Ok(kept))) if *kept == value()), "{released:?}");
    assert_eq!(work(released), Some(Ok(value())));
    assert_eq!(engine.once("a").run(|lease| Ok::<_, String>(lease.attempt())).unwrap().into_value(), 2);

    let lost = engine.once("b").run(|_| {
        engine.forget_forced("b").wait().unwrap();
        Ok::<_, String>(value())
    });
    assert!(matches!(&lost, Err(OnceError::Lost(Some(Ok(_))))), "{lost:?}");
    assert_eq!(work(lost), Some(Ok(value())));
    let lost = engine.once("b").run(|_| {
        engine.forget_forced("b").wait().unwrap();
        Err::<String, _>("no".to_owned())
    });
    assert_eq!(work(lost), Some(Err("no".to_owned())));

    let overruled = engine.once("c").run(|lease| {
        lease.complete("by hand").wait().unwrap();
        Err::<String, _>("and yet it failed".to_owned())
    });
    let Err(OnceError::Overruled { state: State::Completed, .. }) = &overruled else {
        panic!("{overruled:?}")
    };
    assert_eq!(work(overruled), Some(Err("and yet it failed".to_owned())));
    let overruled = engine.once("d").run(|lease| {
        lease.fail("by hand").wait().unwrap();
        Ok::<_, String>(value())
    });
    assert!(matches!(&overruled, Err(OnceError::Overruled { state: State::Failed, .. })), "{overruled:?}");
    assert_eq!(work(overruled), Some(Ok(value())));
    // Delivering the same outcome directly is not an error.
    let same = engine.once("e").run(|lease| {
        lease.complete("done").wait().unwrap();
        Ok::<_, String>(value())
    });
    assert_eq!(same.unwrap().value(), "done");
}

/// Runs `once` while its outcome is being sent, and advances the clock so that its pauses end.
fn run_through<R: Send>(clock: &ManualClock, run: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let running = scope.spawn(run);
        while !running.is_finished() {
            clock.advance(Duration::from_millis(100));
            std::thread::park_timeout(Duration::from_millis(1));
        }
        running.join().unwrap()
    })
}

/// Returns this many faults, after which the store answers.
fn away(times: usize) -> Vec<Fault> {
    vec![Fault::Unavailable; times]
}

#[test]
fn an_outcome_is_retried_while_the_store_does_not_answer() {
    for times in [1, 5] {
        for works in [true, false] {
            let (engine, faults, clock) = faulty();
            let outcome = run_through(&clock, || {
                engine.once("key").ttl(10 * TTL).run(|_| {
                    faults.script(away(times));
                    if works { Ok("done".to_owned()) } else { Err("no".to_owned()) }
                })
            });
            match works {
                true => assert_eq!(outcome.unwrap().value(), "done"),
                false => assert!(is_own_error(&outcome, "no"), "{outcome:?}"),
            }
        }
    }
}

#[test]
fn an_outcome_that_cannot_be_stored_is_returned_with_the_error() {
    for works in [true, false] {
        let (engine, faults, clock) = faulty();
        let outcome = run_through(&clock, || {
            engine.once("key").ttl(10 * TTL).run(|_| {
                // Renewals meet the fault too.
                faults.at_random(1, FaultRates { unavailable: 1000, ..FaultRates::default() });
                if works { Ok("done".to_owned()) } else { Err("no".to_owned()) }
            })
        });
        let Err(OnceError::Unrecorded { error: Error::Store(StoreError::Unavailable(_)), .. }) = &outcome
        else {
            panic!("{outcome:?}")
        };
        let text = outcome.as_ref().unwrap_err().to_string();
        assert!(works || text.contains("no"), "{text}");
        assert_eq!(work(outcome), Some(if works { Ok("done".to_owned()) } else { Err("no".to_owned()) }));
        faults.clear();
    }
}

/// Work whose lease lapsed before its end counts, unless there was a takeover.
#[test]
fn once_reports_a_late_outcome() {
    let (engine, clock) = still();
    let late = engine.once("late").ttl(TTL).run(|lease| {
        // The clock is advanced in one step, so that no renewal comes in between.
        clock.advance(2 * TTL);
        assert!(lease.is_lost());
        Ok::<_, String>(1)
    });
    assert!(late.unwrap().is_late());
    let in_time = engine.once("in time").ttl(TTL).run(|_| Ok::<_, String>(1));
    assert!(!in_time.unwrap().is_late());
}

/// `Debug` of the errors of `once` shows no value.
#[test]
fn p11_no_error_of_once_shows_a_value() {
    let (engine, _clock) = still();
    let secret = || "s3cret".to_owned();
    let errors = [
        engine.once("a").run(|lease| Ok::<_, Message>(lease.release().wait().map(|_| secret())?)),
        engine.once("b").run(|lease| Ok(lease.fail("code").wait().map(|_| secret())?)),
        engine.once("c").run(|_| Ok(engine.forget_forced("c").wait().map(|_| secret())?)),
    ];
    for error in errors {
        let error = error.unwrap_err();
        let shown = format!("{error:?} {error:#?} {error}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(error.into_work().unwrap().unwrap(), secret());
    }
    let large = "s3cret".repeat(1 << 20);
    let error = engine.once("d").run(|_| Ok::<_, String>(large.clone())).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cret"));
}

/// `once` on a key from within the work of the same key waited for itself forever.
#[test]
fn once_from_within_its_own_work_is_refused() {
    let (engine, _clock) = still();
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("would wait for itself"), "{error}");
    };
    let outer = engine.once("key").run(|_| {
        let Err(OnceError::Engine(error)) = engine.once("key").run(|_| Ok::<_, String>(2)) else { panic!() };
        refused(error);
        refused(engine.wait_for("key", TTL).wait().unwrap_err());
        // Another key is allowed, and so is the same key on another thread.
        let other = engine.once("other").run(|_| {
            let Err(OnceError::Engine(error)) = engine.once("key").run(|_| Ok::<_, String>(2)) else {
                panic!()
            };
            refused(error);
            Ok::<_, String>(3)
        });
        Ok::<_, String>(other.unwrap().into_value())
    });
    assert_eq!(outer.unwrap().into_value(), 3);
    let outer = future::block_on(engine.once("async").run_async(async |_| {
        future::yield_now().await;
        let inner = engine.once("async").run_async(async |_| Ok::<_, String>(2)).await;
        let Err(OnceError::Engine(error)) = inner else { panic!() };
        refused(error);
        Ok::<_, String>(3)
    }));
    assert_eq!(outer.unwrap().into_value(), 3);
}

/// Two async works on one thread are not nested, and work that has ended its lease may use its key.
#[test]
fn work_that_is_not_nested_is_not_refused() {
    let (engine, _clock) = still();
    let first = engine.once("one").run_async(async |_| {
        for _ in 0..10 {
            future::yield_now().await;
        }
        Ok::<_, String>(1)
    });
    let second = engine.once("two").run_async(async |_| {
        let first = engine.once("one").run_async(async |_| Ok::<_, String>(0)).await;
        Ok::<_, String>(first.unwrap().into_value() + 1)
    });
    let (first, second) = future::block_on(future::zip(first, second));
    assert_eq!((first.unwrap().into_value(), second.unwrap().into_value()), (1, 2));
    let settled = engine.once("settled").run(|lease| {
        lease.complete(&7).wait().unwrap();
        Ok::<_, String>(
            engine.once("settled").run(|_| Err::<u8, _>("not again".to_owned())).unwrap().into_value(),
        )
    });
    assert_eq!(settled.unwrap().into_value(), 7);
}

/// A thread that is being torn down has lost its thread-local values, and a panic there aborts the
/// process.
#[test]
fn once_runs_in_the_destructor_of_a_thread_local() {
    struct AtTheEnd(Engine, Arc<AtomicUsize>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let Self(engine, ran) = self;
            // The engine's own thread-local values may or may not exist, depending on the order of
            // destruction.
            let value = engine.once("at the end").run(|_| Ok::<_, String>(1)).unwrap().into_value();
            let again = engine.once("at the end").run(|_| Ok::<_, String>(2)).unwrap().into_value();
            let waited = engine.once("held").wait_timeout(TTL).run(|_| Ok::<_, String>(3)).unwrap();
            assert!(waited.has_waited());
            ran.store(value + again + waited.into_value(), Ordering::SeqCst);
        }
    }
    thread_local! {
        static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
        static FIRST: Cell<bool> = const { Cell::new(false) };
    }
    for engine_first in [true, false] {
        let (engine, _clock) = still();
        let ran = Arc::new(AtomicUsize::new(0));
        let Acquisition::Acquired(held) = engine.acquire("held").wait().unwrap() else { panic!() };
        let (theirs, told) = (engine.clone(), Arc::clone(&ran));
        let thread = std::thread::spawn(move || {
            let warm = |engine: &Engine| {
                engine.once("warm").run(|_| Ok::<_, String>(1)).unwrap();
            };
            if engine_first {
                warm(&theirs);
            }
            AT_THE_END.with(|slot| *slot.borrow_mut() = Some(AtTheEnd(theirs.clone(), told)));
            warm(&theirs);
            FIRST.set(true);
        });
        // Its end waits for this key.
        while engine.status("at the end").wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::park_timeout(Duration::from_millis(20));
        held.complete(&5).wait().unwrap();
        thread.join().unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 7, "engine first: {engine_first}");
    }
}

#[test]
fn the_default_holder_is_used_if_none_is_given() {
    let mut settings = Settings::default();
    settings.holder = Some("this host".to_owned());
    let (engine, _clock) = with(settings);
    let holder = |key: &str| engine.status(key).wait().unwrap().unwrap().holder().map(str::to_owned);
    engine.once("default").run(|_| Ok::<_, String>(1)).unwrap();
    assert_eq!(holder("default").as_deref(), Some("this host"));
    engine.once("named").holder("worker 7").run(|_| Ok::<_, String>(1)).unwrap();
    assert_eq!(holder("named").as_deref(), Some("worker 7"));
}

#[test]
fn a_policy_without_attempts_is_refused() {
    let (engine, _clock) = still();
    let none = OnFailed::Retry { max_attempts: 0, backoff: lessor_core::Backoff::NONE };
    let refused = engine.once("key").on_failed(none).run(|_| Ok::<_, String>(1)).unwrap_err();
    assert!(matches!(&refused, OnceError::Engine(error) if error.kind() == ErrorKind::Invalid), "{refused}");
    assert!(engine.status("key").wait().unwrap().is_none());
}

#[test]
fn a_listing_with_a_limit_of_zero_is_refused() {
    let (engine, _clock) = still();
    for limit in [0, 10_001, usize::MAX] {
        assert_eq!(engine.list().limit(limit).wait().unwrap_err().kind(), ErrorKind::Invalid, "{limit}");
    }
    for limit in [1, 10_000] {
        assert!(engine.list().limit(limit).wait().unwrap().entries.is_empty());
    }
}
