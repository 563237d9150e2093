//! What `once` keeps of the work, whatever becomes of it: panics, values that cannot be kept, and leases that end early.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_lite::future;
use lessor_core::{
    Acquisition, Engine, Error, ErrorKind, Lease, OnFailed, OnceError, Settings, State, StoreError,
};
use lessor_memory::MemoryStore;
use lessor_testkit::faulty::FaultRates;
use lessor_testkit::{Fault, Faults, Level, ManualClock};
use serde::{Deserialize, Serialize, Serializer};

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

/// The work ran and its failure is kept under this code; and it does not run again.
fn is_kept(engine: &Engine, key: &str, expected: &str) {
    assert_eq!(code(engine, key).as_deref(), Some(expected));
    let again = engine.once(key).run(|_| -> Result<String, String> { panic!("the work runs again") });
    assert!(matches!(again, Err(OnceError::Failed(view)) if view.error_code() == Some(expected)));
}

/// The story: a small limit for results was applied to the text of the work's error. Nothing was stored, and the work ran again
/// and again.
#[test]
fn a_small_limit_for_results_loses_no_failure() {
    let mut settings = Settings::default();
    (settings.limits.max_result, settings.limits.max_error_detail) = (8, 0);
    let (engine, _clock) = with(settings);
    let failed = engine.once("error").run(|_| Err::<u8, _>("an error of more than eight bytes"));
    assert!(matches!(failed, Err(OnceError::Work(_))));
    is_kept(&engine, "error", "error");
    let detail = engine.status("error").wait().unwrap().unwrap().error_detail().map(str::to_owned);
    assert_eq!(detail.as_deref(), Some("an error of more than eight bytes"));
    let refused = engine.once("large").run(|_| Ok::<_, String>("more than eight bytes".to_owned()));
    let Err(OnceError::Refused { value, error, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(value, "more than eight bytes");
    assert!(matches!(error, Error::TooLarge { what: "result", .. }));
    is_kept(&engine, "large", "result_refused");
    // The limit for callers is another one.
    let Acquisition::Acquired(lease) = engine.acquire("by hand").wait().unwrap() else { panic!() };
    let refused = lease.fail_with("code", "x").wait().unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "error detail", limit: 0, .. }), "{refused}");
    lease.fail("code").wait().unwrap();
}

#[test]
fn a_long_text_of_an_error_is_cut() {
    let (engine, _clock) = still();
    let failed = engine.once("key").run(|_| Err::<u8, _>("é".repeat(1 << 20)));
    assert!(matches!(failed, Err(OnceError::Work(_))));
    let view = engine.status("key").wait().unwrap().unwrap();
    assert_eq!(view.error_detail().map(str::len), Some(4096));
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize")
    }
}

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in Display")
    }
}

/// A value that panics when it is read back, or when it is dropped.
#[derive(Serialize)]
struct Fragile {
    when_read: bool,
    #[serde(skip)]
    when_dropped: bool,
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            when_read: bool,
        }
        let Plain { when_read } = Plain::deserialize(from)?;
        assert!(!when_read, "in Deserialize");
        Ok(Self { when_read, when_dropped: true })
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.when_dropped || std::thread::panicking(), "in Drop");
    }
}

/// A value that panics while it is serialized, and when it is dropped after that.
struct Worst;

impl Serialize for Worst {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

impl<'de> Deserialize<'de> for Worst {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        panic!("in Drop");
    }
}

fn panics(engine: &Engine, key: &str, run: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(run));
    assert!(panic.is_err(), "{key}: the panic does not go on");
    is_kept(engine, key, "panicked");
}

/// The story: only a panic of the closure, or of the future while it was polled, was stored. One in the value's `Serialize`, in the
/// error's `Display` or before there was a future left the key open, and the work ran again.
#[test]
fn a_panic_anywhere_in_the_callers_code_is_stored_and_goes_on() {
    let (engine, _clock) = still();
    let once = |key: &'static str| engine.once(key);
    panics(&engine, "closure", || drop(once("closure").run(|_| -> Result<(), String> { panic!("closure") })));
    panics(&engine, "serialize", || drop(once("serialize").run(|_| Ok::<_, String>(Panics))));
    panics(&engine, "display", || drop(once("display").run(|_| Err::<(), _>(Panics))));
    let fragile = |when_read| Ok::<_, String>(Fragile { when_read, when_dropped: false });
    panics(&engine, "read", || drop(once("read").run(|_| fragile(true))));
    panics(&engine, "drop", || drop(once("drop").run(|_| fragile(false))));
    panics(&engine, "worst", || drop(once("worst").run(|_| Ok::<_, String>(Worst))));
}

/// Makes no future: it panics before.
fn no_future(_: &Lease) -> future::Ready<Result<(), String>> {
    panic!("before there is a future")
}

#[test]
fn a_panic_anywhere_in_async_work_is_stored_and_goes_on() {
    let (engine, _clock) = still();
    panics(&engine, "call", || drop(future::block_on(engine.once("call").run_async(no_future))));
    panics(&engine, "poll", || {
        let work = engine.once("poll").run_async(async |_| -> Result<(), String> { panic!("in poll") });
        drop(future::block_on(work));
    });
    panics(&engine, "serialize", || {
        drop(future::block_on(engine.once("serialize").run_async(async |_| Ok::<_, String>(Panics))));
    });
    panics(&engine, "display", || {
        drop(future::block_on(engine.once("display").run_async(async |_| Err::<(), _>(Panics))));
    });
}

/// The story: the first caller got `Ok`, and each later one an error or another value.
#[test]
fn a_value_that_would_not_read_back_is_refused_and_given_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Measured(f64);
    let (engine, _clock) = still();
    for (key, value) in [("nan", f64::NAN), ("infinite", f64::INFINITY)] {
        let outcome = engine.once(key).run(|_| Ok::<_, String>(Measured(value)));
        let Err(OnceError::Refused { value: back, error, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(back.0.to_bits(), value.to_bits());
        assert!(error.to_string().contains("NaN or infinite"), "{error}");
        is_kept(&engine, key, "result_refused");
    }
    let outcome = engine.once("nested").run(|_| Ok::<_, String>(Some(None::<u8>)));
    assert!(matches!(outcome, Err(OnceError::Refused { value: Some(None), .. })));
    is_kept(&engine, "nested", "result_refused");
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    let outcome = engine.once("keys").run(|_| Ok::<_, String>(map.clone()));
    let Err(OnceError::Refused { value, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(value, map);
    // By hand as well, with nothing written.
    let Acquisition::Acquired(lease) = engine.acquire("by hand").wait().unwrap() else { panic!() };
    assert_eq!(lease.complete(&f64::NAN).wait().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.checkpoint(&Some(())).wait().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.fail_as("code", &[f32::NAN]).wait().unwrap_err().kind(), ErrorKind::Invalid);
    let metadata = engine.acquire("other").metadata(&serde_json::Map::new()).fingerprint(&f64::NAN).wait();
    assert_eq!(metadata.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(lease.complete(&None::<u8>).wait().unwrap().version().as_u64(), 2);
}

#[test]
fn a_reason_that_is_empty_is_none() {
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

/// Takes what the work returned out of the error.
fn work<T, E>(outcome: Result<lessor_core::Outcome<T>, OnceError<T, E>>) -> Option<Result<T, E>> {
    outcome.err().and_then(OnceError::into_work)
}

/// The story: work that released its lease and returned a value was told that the lease was lost, and one that returned an error that
/// its failure was kept. Neither was true, and the value was gone.
#[test]
fn what_the_work_returned_is_never_lost() {
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
        Err::<String, _>("no")
    });
    assert_eq!(work(lost), Some(Err("no")));

    let overruled = engine.once("c").run(|lease| {
        lease.complete("by hand").wait().unwrap();
        Err::<String, _>("and yet it failed")
    });
    let Err(OnceError::Overruled { state: State::Completed, .. }) = &overruled else {
        panic!("{overruled:?}")
    };
    assert_eq!(work(overruled), Some(Err("and yet it failed")));
    let overruled = engine.once("d").run(|lease| {
        lease.fail("by hand").wait().unwrap();
        Ok::<_, String>(value())
    });
    assert!(matches!(&overruled, Err(OnceError::Overruled { state: State::Failed, .. })), "{overruled:?}");
    assert_eq!(work(overruled), Some(Ok(value())));
    // The same outcome by hand is no other.
    let same = engine.once("e").run(|lease| {
        lease.complete("done").wait().unwrap();
        Ok::<_, String>(value())
    });
    assert_eq!(same.unwrap().value(), "done");
}

/// Everything that `once` does while its outcome is sent, with the clock moved on so that its pauses end.
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

/// The store does not answer so often, and then it does.
fn away(times: usize) -> Vec<Fault> {
    vec![Fault::Unavailable; times]
}

#[test]
fn an_outcome_is_sent_again_while_the_store_does_not_answer() {
    for times in [1, 5] {
        for works in [true, false] {
            let (engine, faults, clock) = faulty();
            let outcome = run_through(&clock, || {
                engine.once("key").ttl(10 * TTL).run(|_| {
                    faults.script(away(times));
                    if works { Ok("done".to_owned()) } else { Err("no") }
                })
            });
            match works {
                true => assert_eq!(outcome.unwrap().value(), "done"),
                false => assert!(matches!(outcome, Err(OnceError::Work("no"))), "{outcome:?}"),
            }
        }
    }
}

#[test]
fn an_outcome_that_no_store_takes_comes_back_with_the_stores_error() {
    for works in [true, false] {
        let (engine, faults, clock) = faulty();
        let outcome = run_through(&clock, || {
            engine.once("key").ttl(10 * TTL).run(|_| {
                // Renewals meet it as well.
                faults.at_random(1, FaultRates { unavailable: 1000, ..FaultRates::default() });
                if works { Ok("done".to_owned()) } else { Err("no") }
            })
        });
        let Err(OnceError::Unrecorded { error: Error::Store(StoreError::Unavailable(_)), .. }) = &outcome
        else {
            panic!("{outcome:?}")
        };
        let text = outcome.as_ref().unwrap_err().to_string();
        assert!(works || text.contains("no"), "{text}");
        assert_eq!(work(outcome), Some(if works { Ok("done".to_owned()) } else { Err("no") }));
        faults.clear();
    }
}

/// Work whose lease has lapsed before it ended counts, as long as nobody took over.
#[test]
fn once_says_that_it_was_late() {
    let (engine, clock) = still();
    let late = engine.once("late").ttl(TTL).run(|lease| {
        // In one step, so that no renewal comes in between.
        clock.advance(2 * TTL);
        assert!(lease.is_lost());
        Ok::<_, String>(1)
    });
    assert!(late.unwrap().is_late());
    let in_time = engine.once("in time").ttl(TTL).run(|_| Ok::<_, String>(1));
    assert!(!in_time.unwrap().is_late());
}

/// Errors of `once` show no value in `Debug`.
#[test]
fn p11_no_error_of_once_shows_a_value() {
    let (engine, _clock) = still();
    let secret = || "s3cret".to_owned();
    let errors = [
        engine.once("a").run(|lease| lease.release().wait().map(|_| secret())),
        engine.once("b").run(|lease| lease.fail("code").wait().map(|_| secret())),
        engine.once("c").run(|_| engine.forget_forced("c").wait().map(|_| secret())),
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

/// The story: `once` on a key from inside of the work of that same key waited for itself, for ever and without a word.
#[test]
fn once_from_inside_of_its_own_work_is_refused() {
    let (engine, _clock) = still();
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("would wait for itself"), "{error}");
    };
    let outer = engine.once("key").run(|_| {
        let Err(OnceError::Engine(error)) = engine.once("key").run(|_| Ok::<_, String>(2)) else { panic!() };
        refused(error);
        refused(engine.wait_for("key", TTL).wait().unwrap_err());
        // Another key is fine, and so is another thread's business.
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

/// Two pieces of async work on one thread are not inside of each other, and work that has settled its lease may ask for its key.
#[test]
fn work_that_is_not_inside_of_itself_is_not_refused() {
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
        Ok::<_, String>(engine.once("settled").run(|_| Err::<u8, _>("not again")).unwrap().into_value())
    });
    assert_eq!(settled.unwrap().into_value(), 7);
}

/// The story: a thread that is being torn down has lost its thread-local values, and a panic there ends the process.
#[test]
fn once_runs_in_the_destructor_of_a_thread_local() {
    struct AtTheEnd(Engine, Arc<AtomicUsize>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let Self(engine, ran) = self;
            // What the engine itself keeps per thread is gone or not, depending on who came first.
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
fn the_default_holder_is_used_where_none_is_named() {
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
fn a_policy_of_no_attempt_is_refused() {
    let (engine, _clock) = still();
    let none = OnFailed::Retry { max_attempts: 0, backoff: lessor_core::Backoff::NONE };
    let refused = engine.once("key").on_failed(none).run(|_| Ok::<_, String>(1)).unwrap_err();
    assert!(matches!(&refused, OnceError::Engine(error) if error.kind() == ErrorKind::Invalid), "{refused}");
    assert!(engine.status("key").wait().unwrap().is_none());
}

#[test]
fn a_listing_of_no_keys_at_all_is_refused() {
    let (engine, _clock) = still();
    for limit in [0, 10_001, usize::MAX] {
        assert_eq!(engine.list("", None, limit).wait().unwrap_err().kind(), ErrorKind::Invalid, "{limit}");
    }
    for limit in [1, 10_000] {
        assert!(engine.list("", None, limit).wait().unwrap().entries.is_empty());
    }
}
