//! Requests of `once` that outlive their callers: owned, sent to other threads, and detached.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines are instants of the standard library")]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future;
use lessor_core::{
    Backoff, DetachedTask, Engine, FailureClass, GrantEnd, Lease, Message, OnLapsed, Once, OnceError,
    Retrying,
};
use lessor_memory::MemoryStore;

fn engine() -> Engine {
    Engine::new(Arc::new(MemoryStore::new())).unwrap()
}

fn must_not_run(_: &Lease) -> Result<String, Message> {
    panic!("the work runs again")
}

fn on_a_thread(task: DetachedTask) {
    std::thread::spawn(|| future::block_on(task));
}

/// Polls a future once, and then drops it, as a server does when its client hangs up.
fn hang_up<F: Future>(call: F) {
    let mut call = std::pin::pin!(call);
    let polled = future::block_on(future::poll_once(call.as_mut()));
    assert!(polled.is_none(), "the call has ended already");
}

/// The builder borrowed its key and its engine, so it could not be spawned.
#[test]
fn a_request_is_built_in_one_place_and_run_in_another() {
    fn is_owned<T: Send + 'static>(value: T) -> T {
        value
    }
    let request: Once<u32, Message> = {
        let engine = engine();
        is_owned(engine.once(format!("job {}", 7)).ttl(Duration::from_secs(5)).holder("here"))
    };
    let outcome = std::thread::spawn(move || request.run(|lease| Ok(lease.attempt()))).join().unwrap();
    assert_eq!(outcome.unwrap().into_value(), 1);
    let retrying: Retrying<u32, Message> = is_owned(engine().once("key").retry_until(Instant::now()));
    let future = is_owned(retrying.run_future(async |_| Ok(1)));
    assert_eq!(future::block_on(future).unwrap().into_value(), 1);
    let spawned = tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
        let engine = engine();
        tokio::spawn(engine.once("k").run_async(async |_| Ok::<_, Message>(2))).await.unwrap()
    });
    assert_eq!(spawned.unwrap().into_value(), 2);
}

/// A handler that was dropped when the client hung up aborted the charge, and the next caller
/// charged again.
#[test]
fn detached_work_continues_after_its_caller_is_gone() {
    let engine = engine();
    let (open, opened) = gate();
    let charges = Arc::new(AtomicUsize::new(0));
    let charge = {
        let charges = Arc::clone(&charges);
        engine.once("key").run_detached(on_a_thread, move |_lease| async move {
            opened.await;
            charges.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Message>("charged".to_owned())
        })
    };
    hang_up(charge);
    open();
    let next = engine.once("key").run(must_not_run).unwrap();
    assert!(next.value() == "charged" && next.attempt() == 1);
    assert_eq!(charges.load(Ordering::SeqCst), 1);
}

/// Returns a function and a future that is ready once the function was called.
fn gate() -> (impl FnOnce(), impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let open = move || sender.send(()).unwrap();
    (open, async move { receiver.recv().unwrap() })
}

#[test]
fn the_caller_of_detached_work_gets_its_outcome() {
    let engine = engine();
    let done = engine.once("ok").run_detached(on_a_thread, async |lease| Ok::<_, Message>(lease.attempt()));
    assert_eq!(future::block_on(done).unwrap().into_value(), 1);
    let failed = engine.once("err").run_detached(on_a_thread, async |_| Err::<(), _>(Message::new("no")));
    let failed = future::block_on(failed);
    assert!(matches!(failed, Err(OnceError::Work { error, is_replay: false, .. }) if error.as_str() == "no"));
    // A replay starts no task.
    let replayed = engine
        .once("ok")
        .run_detached(|_| panic!("a task for a replay"), async |_| Err::<u32, _>(Message::new("again")));
    assert!(future::block_on(replayed).unwrap().is_replay());
}

#[test]
fn a_panic_of_detached_work_is_stored_and_reaches_the_caller() {
    let engine = engine();
    let panics = engine
        .once("key")
        .run_detached(on_a_thread, async |_| -> Result<(), Message> { panic!("on purpose") });
    assert!(catch_unwind(AssertUnwindSafe(|| future::block_on(panics))).is_err());
    let view = engine.status("key").wait().unwrap().unwrap();
    assert_eq!(view.error_code(), Some("panicked"));
}

/// The next caller found the key in doubt, although nothing had been done.
#[test]
fn work_that_has_not_begun_does_not_put_its_key_in_doubt() {
    let engine = engine();
    let work = async |_: Arc<Lease>| -> Result<(), Message> { panic!("the work runs") };
    let lost = engine.once("a dropped task").run_detached(drop, work);
    assert!(matches!(future::block_on(lost), Err(OnceError::Lost(None))));
    let panics = engine.once("a panic of spawn").run_detached(|_| panic!("on purpose"), work);
    assert!(catch_unwind(AssertUnwindSafe(|| future::block_on(panics))).is_err());
    for key in ["a dropped task", "a panic of spawn"] {
        let next = engine.once(key).on_lapsed(OnLapsed::InDoubt).run(|lease| {
            assert_eq!(lease.previous_grant().unwrap().ended(), GrantEnd::Released);
            Ok::<_, Message>(lease.attempt())
        });
        assert_eq!(next.unwrap().into_value(), 2, "{key}");
    }
    // The background counts an end after it has been stored.
    assert!(engine.close(Duration::from_secs(60)).wait().unwrap().is_complete());
    let stats = engine.stats();
    assert_eq!((stats.unused, stats.abandoned, stats.takeovers), (2, 0, 0));
}

#[test]
fn a_task_that_its_executor_drops_after_its_first_poll_abandons_the_lease() {
    let engine = engine();
    let drops_later = |mut task: DetachedTask| {
        assert!(future::block_on(future::poll_once(&mut task)).is_none());
    };
    let lost = engine.once("key").run_detached(drops_later, async |_| {
        future::pending::<()>().await;
        Ok::<_, Message>(())
    });
    assert!(matches!(future::block_on(lost), Err(OnceError::Lost(None))));
    let next = engine.once("key").on_lapsed(OnLapsed::InDoubt).run(|_| Ok::<_, Message>(()));
    assert!(matches!(next, Err(OnceError::InDoubt { .. })), "{next:?}");
    assert!(engine.close(Duration::from_secs(60)).wait().unwrap().is_complete());
    assert_eq!((engine.stats().unused, engine.stats().abandoned), (0, 1));
}

/// The work of the holder before may be half done, so a release would let a caller run it again whose
/// policy forbids that.
#[test]
fn work_that_has_not_begun_after_a_crash_leaves_the_decision_on_the_crash_to_the_next_caller() {
    let engine = engine();
    let _holder = engine.acquire("key").ttl(Duration::from_millis(1)).wait().unwrap();
    let lost = engine.once("key").run_detached(drop, async |_| Ok::<_, Message>(()));
    assert!(matches!(future::block_on(lost), Err(OnceError::Lost(None))));
    let doubt = engine.once("key").on_lapsed(OnLapsed::InDoubt).run(|_| Ok::<_, Message>(()));
    assert!(matches!(doubt, Err(OnceError::InDoubt { .. })), "{doubt:?}");
    let next = engine.once("key").run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    assert_eq!(next.into_value(), 3);
}

/// A task that the work started held a reference to the lease, which was then renewed without end.
#[test]
fn a_lease_ends_with_its_call_although_the_work_has_kept_a_reference() {
    let engine = engine();
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    hang_up(engine.once("key").run_future(|lease| {
        *keep.lock().unwrap() = Some(lease);
        future::pending::<Result<(), Message>>()
    }));
    let next = engine.once("key").run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    assert_eq!(next.into_value(), 2);
    // Dropping the last reference does not abandon it again.
    let kept = kept.lock().unwrap().take().unwrap();
    assert!(kept.extend(Duration::from_secs(1)).wait().is_err() && kept.is_lost());
    drop(kept);
    hang_up(engine.once("other").run_future(|_lease| future::pending::<Result<(), Message>>()));
    assert!(engine.close(Duration::from_secs(60)).wait().unwrap().is_complete());
    assert_eq!(engine.stats().abandoned, 2);
}

#[test]
fn detached_work_is_retried_while_its_caller_waits() {
    let engine = engine();
    let runs = Arc::new(AtomicUsize::new(0));
    let work = move |_lease: Arc<Lease>| {
        let runs = Arc::clone(&runs);
        async move {
            match runs.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Message::new("busy")),
                run => Ok(run),
            }
        }
    };
    let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    let far = Instant::now() + Duration::from_secs(600);
    let call = engine.once("key").classify(retry).retry_until(far).run_detached(on_a_thread, work);
    assert_eq!(future::block_on(call).unwrap().into_value(), 1);
}

#[test]
fn a_caller_that_hangs_up_while_it_waits_for_another_starts_no_work() {
    let engine = engine();
    let (open, opened) = gate();
    let first = engine.once("key").run_detached(on_a_thread, move |_| async move {
        opened.await;
        Ok::<_, Message>(1)
    });
    let mut first = std::pin::pin!(first);
    assert!(future::block_on(future::poll_once(first.as_mut())).is_none());
    hang_up(
        engine.once("key").run_detached(|_| panic!("a task for a waiter"), async |_| Ok::<i32, Message>(2)),
    );
    open();
    assert_eq!(future::block_on(first).unwrap().into_value(), 1);
}
