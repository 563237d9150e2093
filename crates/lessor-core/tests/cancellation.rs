//! Dropping a future at any await point leaves a valid state, and no lease without an owner.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod late;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use late::{LateStore, late};
use lessor_core::{Acquisition, Engine, LeaseId, OnLapsed, State};
use lessor_memory::MemoryStore;

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(20);

fn late_engine() -> (Engine, Arc<LateStore>) {
    let store = Arc::new(late(Arc::new(MemoryStore::new())));
    (Engine::new(store.clone()).unwrap(), store)
}

/// Polls `future` this many times, with a waker that does nothing, and drops it.
fn poll_and_drop(future: impl Future, times: usize) {
    let mut future = Box::pin(future);
    for _ in 0..times {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        std::thread::yield_now();
    }
}

/// Waits until the key is not held, so that abandoned leases have reached the store. Returns its
/// state.
fn settle(engine: &Engine, key: &str) -> Option<State> {
    engine.wait_for(key, SOON).wait().unwrap().map(|view| view.state())
}

#[test]
fn a_dropped_acquire_leaves_no_lease_without_an_owner() {
    for polls in 0..4 {
        let (engine, store) = late_engine();
        let shut = store.gate.lock();
        poll_and_drop(engine.acquire("key").ttl(LONG).send(), polls);
        drop(shut);
        // The grant and its end were in flight. Nothing was done, so there is no doubt.
        assert!(matches!(settle(&engine, "key"), None | Some(State::Released)), "after {polls} polls");
        let next = engine.acquire("key").on_lapsed(OnLapsed::InDoubt).wait().unwrap();
        assert!(matches!(next, Acquisition::Acquired(_)), "after {polls} polls: {next:?}");
    }
}

/// Another process may be working under the id, if the request is a repetition.
#[test]
fn a_dropped_acquire_whose_caller_chose_the_lease_id_is_abandoned() {
    let (engine, store) = late_engine();
    let id = LeaseId::random().unwrap();
    let held = engine.acquire("key").ttl(LONG).lease_id(id).wait().unwrap();
    std::mem::forget(held);
    let shut = store.gate.lock();
    poll_and_drop(engine.acquire("key").ttl(LONG).lease_id(id).send(), 1);
    drop(shut);
    assert_eq!(settle(&engine, "key"), Some(State::Lapsed));
}

#[test]
fn a_once_that_is_dropped_while_it_acquires_its_key_puts_it_in_no_doubt() {
    let (engine, store) = late_engine();
    let shut = store.gate.lock();
    let call = engine.once("key").ttl(LONG).run_async(async |_| -> Result<(), String> { panic!("it runs") });
    poll_and_drop(call, 2);
    drop(shut);
    let next = engine.once("key").on_lapsed(OnLapsed::InDoubt).run(|lease| Ok::<_, String>(lease.attempt()));
    assert!(next.is_ok(), "{next:?}");
    assert_eq!(engine.stats().takeovers, 0);
}

#[test]
fn a_dropped_completion_has_happened_or_can_be_repeated() {
    for polls in 0..4 {
        let (engine, store) = late_engine();
        let Acquisition::Acquired(lease) = engine.acquire("key").ttl(LONG).wait().unwrap() else { panic!() };
        let shut = store.gate.lock();
        poll_and_drop(lease.complete("result"), polls);
        drop(shut);
        let ack = lease.complete("result").wait().unwrap();
        assert_eq!(ack.version().as_u64(), 2, "P6: written once");
        drop(lease);
        let view = engine.status("key").wait().unwrap().unwrap();
        assert_eq!((view.state(), view.result::<String>().unwrap().as_str()), (State::Completed, "result"));
    }
}

/// The pending completion borrows nothing from the lease, so the lease can be dropped first.
#[test]
fn a_lease_that_is_dropped_while_it_is_completed_is_not_abandoned() {
    let (engine, store) = late_engine();
    let Acquisition::Acquired(lease) = engine.acquire("key").ttl(LONG).wait().unwrap() else { panic!() };
    let loads = store.loads.load(Ordering::SeqCst);
    let gate = store.gate.lock();
    let completion = lease.complete("result");
    drop(lease);
    drop(gate);
    let ack = completion.wait().unwrap();
    assert!(!ack.is_late() && ack.version().as_u64() == 2, "{ack:?}");
    // Closing the engine waits for leases that are being abandoned, which would read the record.
    assert!(engine.close(SOON).wait().unwrap().is_complete());
    assert_eq!(store.loads.load(Ordering::SeqCst), loads);
}

#[test]
fn a_lease_that_is_dropped_before_its_completion_is_dropped_is_abandoned() {
    for polls in 0..4 {
        let (engine, store) = late_engine();
        let Acquisition::Acquired(lease) = engine.acquire("key").ttl(LONG).wait().unwrap() else { panic!() };
        let gate = store.gate.lock();
        let completion = lease.complete("result");
        drop(lease);
        poll_and_drop(completion, polls);
        drop(gate);
        let state = settle(&engine, "key");
        assert!(matches!(state, Some(State::Completed | State::Lapsed)), "after {polls} polls: {state:?}");
    }
}

#[test]
fn a_dropped_once_abandons_its_lease() {
    let (engine, _store) = late_engine();
    let has_begun = AtomicBool::new(false);
    let work = engine.once("key").ttl(LONG).run_async(async |_| {
        has_begun.store(true, Ordering::SeqCst);
        std::future::pending::<()>().await;
        Ok::<_, String>(())
    });
    let mut work = Box::pin(work);
    let mut context = Context::from_waker(Waker::noop());
    while !has_begun.load(Ordering::SeqCst) {
        assert!(work.as_mut().poll(&mut context).is_pending());
    }
    drop(work);
    assert_eq!(settle(&engine, "key"), Some(State::Lapsed));
}

#[test]
fn a_dropped_waiter_passes_its_offer_on() {
    // The case to prevent: one waiter is woken to take over and cancelled at that moment, and all
    // others sleep on.
    for _ in 0..1_000 {
        if let Some(outcome) = turn_of_one_that_goes_away() {
            assert_eq!(outcome.expect("somebody got the turn"), "taken over");
            return;
        }
    }
    panic!("no waiter went away with the turn");
}

/// Returns the result of the last of four waiters after the first three were dropped, one of them
/// with the offer. Returns `None` if none had the offer at that moment, which other threads
/// influence.
fn turn_of_one_that_goes_away() -> Option<Option<String>> {
    let (engine, store) = late_engine();
    let Acquisition::Acquired(lease) = engine.acquire("key").ttl(LONG).wait().unwrap() else { panic!() };
    let mut twins: Vec<_> = (0..4)
        .map(|_| Box::pin(engine.once("key").run_async(async |_| Ok::<_, String>("taken over".to_owned()))))
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut poll_all = |twins: &mut [_]| twins.iter_mut().all(|twin| poll(twin, &mut context).is_pending());
    for _ in 0..20 {
        assert!(poll_all(&mut twins), "they wait for the lease");
        engine.status("another key").wait().unwrap();
    }
    lease.release().wait().unwrap();
    let last = twins.pop()?;
    // A concurrent caller swaps once at the beginning, and then only when it has the offer.
    let swaps = store.swaps.load(Ordering::SeqCst);
    let one_tries = poll_all(&mut twins) && store.swaps.load(Ordering::SeqCst) == swaps + 1;
    drop(twins);
    one_tries.then(|| {
        futures_lite::future::block_on(futures_lite::future::or(
            async { Some(last.await.unwrap().into_value()) },
            async {
                sleep(SOON).await;
                None
            },
        ))
    })
}

fn poll<F: Future>(future: &mut std::pin::Pin<Box<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.as_mut().poll(context)
}

/// Returns a future that resolves after a generous time, without a runtime.
fn sleep(time: Duration) -> impl Future<Output = ()> {
    let done = event_listener::Event::new();
    let listener = done.listen();
    std::thread::spawn(move || {
        std::thread::park_timeout(time);
        done.notify(usize::MAX);
    });
    listener
}

#[test]
fn a_completed_pending_does_not_panic_when_polled_again() {
    let (engine, _store) = late_engine();
    let mut status = engine.status("key");
    let mut context = Context::from_waker(Waker::noop());
    let mut status = std::pin::Pin::new(&mut status);
    while status.as_mut().poll(&mut context).is_pending() {
        std::thread::yield_now();
    }
    assert!(matches!(status.as_mut().poll(&mut context), Poll::Pending));
}
