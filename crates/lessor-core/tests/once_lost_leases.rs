//! Work of `once` whose lease ends before the work begins, or that may not begin at all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines are instants of the standard library")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future;
use lessor_core::{
    Acquisition, DetachedTask, Engine, FailureClass, Lease, Message, OnceError, Reconciled, State,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{Fault, Faults, Level, ManualClock};

const TTL: Duration = Duration::from_secs(60);

fn with_faults() -> (Engine, ManualClock, Faults) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let (store, faults) = Faults::over(store, Level::Operations);
    (Engine::new(store).unwrap(), clock, faults)
}

fn must_not_run(_: &Lease) -> Result<u32, Message> {
    panic!("the work runs")
}

fn on_a_thread(task: DetachedTask) {
    std::thread::spawn(|| future::block_on(task));
}

/// Leaves `key` as a holder does that dies.
fn dies(engine: &Engine, clock: &ManualClock, key: &str) {
    let Acquisition::Acquired(lease) = engine.acquire(key).ttl(TTL).wait().unwrap() else { panic!() };
    std::mem::forget(lease);
    clock.advance(TTL);
}

/// The reply to the request arrived when the lease had lapsed, and the work began although another
/// caller ran it.
#[test]
fn work_does_not_begin_under_a_lease_that_has_lapsed_before_it_was_received() {
    for form in ["blocking", "async"] {
        let (engine, clock, faults) = with_faults();
        faults.script([Fault::HeldReply]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while faults.held() == 0 {
                    std::thread::yield_now();
                }
                clock.advance(TTL);
                faults.release_first();
            });
            let once = engine.once("key").ttl(TTL);
            let lost = match form {
                "blocking" => once.run(must_not_run),
                _ => future::block_on(once.run_async(async |lease| must_not_run(lease))),
            };
            assert!(matches!(lost, Err(OnceError::Lost(None))), "{lost:?}");
        });
        assert!(engine.close(TTL).wait().unwrap().is_complete());
        let view = engine.status("key").wait().unwrap().unwrap();
        assert_eq!(view.state(), State::Released, "nothing was done");
    }
}

/// An operator took the key away while the function looked for the effect, and the work began after
/// that.
#[test]
fn work_does_not_begin_under_a_lease_that_was_lost_while_reconcile_looked() {
    let (engine, clock, _) = with_faults();
    for form in ["blocking", "async", "retrying"] {
        dies(&engine, &clock, form);
        let operator = engine.clone();
        let once = engine.once(form).reconcile(move |lease| {
            operator.resolve(lease.key()).forced().released().wait().unwrap();
            Reconciled::NotDone
        });
        let lost = match form {
            "blocking" => once.run(must_not_run),
            "async" => future::block_on(once.run_async(async |lease| must_not_run(lease))),
            _ => once.retry_until(Instant::now() + TTL).run(must_not_run),
        };
        assert!(matches!(lost, Err(OnceError::Lost(None))), "{lost:?}");
    }
}

/// `work` was called for its future before the function looked. Requests of many clients begin with
/// the call, so the effect happened a second time.
#[test]
fn detached_work_is_called_after_reconcile_has_looked() {
    let (engine, clock, _) = with_faults();
    let called = Arc::new(AtomicUsize::new(0));
    for retrying in [false, true] {
        dies(&engine, &clock, &format!("{retrying}"));
        let called = Arc::clone(&called);
        let work = move |_lease: Arc<Lease>| {
            called.fetch_add(1, Ordering::SeqCst);
            future::ready(Err::<u32, _>(Message::new("a second effect")))
        };
        let once = engine.once(format!("{retrying}")).reconcile(|_| Reconciled::Done(7));
        let done = match retrying {
            false => future::block_on(once.run_detached(on_a_thread, work)),
            true => future::block_on(once.retry_until(Instant::now() + TTL).run_detached(on_a_thread, work)),
        };
        assert_eq!(done.unwrap().into_value(), 7);
    }
    assert_eq!(called.load(Ordering::SeqCst), 0);
}

/// Such a call waited for itself, and blocked its thread for good.
#[test]
fn a_call_from_within_the_function_of_detached_work_is_refused_as_from_within_its_future() {
    let (engine, _, _) = with_faults();
    let inner = engine.clone();
    let work = move |_lease: Arc<Lease>| {
        let nested = inner.once("key").wait_timeout(Duration::ZERO).run(must_not_run);
        future::ready(match nested {
            Err(OnceError::Engine(_)) => Ok::<_, Message>(1),
            _ => Ok(2),
        })
    };
    let call = engine.once("key").retry_until(Instant::now() + TTL).run_detached(on_a_thread, work);
    assert_eq!(future::block_on(call).unwrap().into_value(), 1);
}

#[test]
fn a_spawn_function_that_panics_leaves_no_lease_behind() {
    let (engine, _, _) = with_faults();
    let call =
        engine.once("key").run_detached(|_task| panic!("there is no runtime"), async |_| Ok::<_, Message>(1));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future::block_on(call)));
    assert!(caught.is_err());
    let next = engine.once("key").run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    assert_eq!(next.into_value(), 2);
}

/// The caller was told that the work had not ended, and its value was gone.
#[test]
fn the_value_of_detached_work_is_not_lost_if_its_task_is_dropped_while_the_outcome_is_stored() {
    for form in ["value", "error", "released", "unsure", "refused"] {
        // The background ends the lease of an earlier form at any time, which must not take the fault.
        let (engine, _, faults) = with_faults();
        let (give, task) = std::sync::mpsc::channel();
        let hold = faults.clone();
        let class = move |_: &Message| match form {
            "released" => FailureClass::release(),
            "unsure" => FailureClass::unsure(),
            _ => FailureClass::keep(),
        };
        let call = engine.once(form).classify(class).run_detached(
            move |task| give.send(task).unwrap(),
            move |_| async move {
                hold.script([Fault::HeldRequest]);
                match form {
                    "value" => Ok(7.0),
                    "refused" => Ok(f64::INFINITY),
                    _ => Err(Message::new("mine")),
                }
            },
        );
        let mut call = std::pin::pin!(call);
        assert!(future::block_on(future::poll_once(call.as_mut())).is_none());
        let mut task: DetachedTask = task.recv().unwrap();
        assert!(future::block_on(future::poll_once(&mut task)).is_none());
        drop(task);
        let ended = future::block_on(call);
        assert!(matches!(ended, Err(OnceError::Unrecorded { .. })), "{form}: {ended:?}");
        let work = ended.unwrap_err().into_work();
        match form {
            "value" => assert!(work.unwrap().unwrap().is_finite()),
            "refused" => assert!(work.unwrap().unwrap().is_infinite()),
            _ => assert_eq!(work.unwrap().unwrap_err().as_str(), "mine"),
        }
        while faults.release_first() {}
    }
}
