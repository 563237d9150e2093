//! An answer is never older than its request, belongs to the caller's own request, and does not
//! depend on other callers being polled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod late;
mod switched;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use late::late;
use lessor_core::{Acquisition, Engine, Error, ErrorKind, Lease, OnceError, State, Store};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use switched::{silent, switched};

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls with a waker that does nothing, like a caller that keeps a future without polling it
/// again.
fn poll_for_a_while<F: Future>(mut future: Pin<&mut F>) {
    for _ in 0..20 {
        assert!(poll(future.as_mut()).is_pending());
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Returns stores whose clocks stand still, so that only notifications end a wait.
fn stores() -> [Arc<dyn Store>; 2] {
    let memory = || MemoryStore::with_clock(Arc::new(ManualClock::new()));
    [Arc::new(memory()), Arc::new(late(Arc::new(memory())))]
}

/// A waiter was kept and not polled. Another one, which registered after the key had been released
/// and granted again, got "released" from the first one's reading.
#[test]
fn rule_11_a_waiter_does_not_get_the_reading_of_an_earlier_waiter() {
    for store in stores() {
        let engine = Engine::new(store).unwrap();
        let first = acquire(&engine, "key");
        let mut held = pin!(engine.wait_for("key", HOUR));
        poll_for_a_while(held.as_mut());
        first.release().wait().unwrap();
        let second = acquire(&engine, "key");
        let mut waiting = pin!(engine.wait_for("key", HOUR));
        poll_for_a_while(waiting.as_mut());
        second.complete("done").wait().unwrap();
        let view = futures_lite::future::block_on(waiting).unwrap().unwrap();
        assert_eq!(view.state(), State::Completed);
    }
}

/// `once` returned a result that had been forgotten while a newer grant was live.
#[test]
fn rule_11_once_does_not_replay_a_forgotten_result() {
    for store in stores() {
        let engine = Engine::new(store).unwrap();
        let first = acquire(&engine, "key");
        let mut held = pin!(engine.wait_for("key", HOUR));
        poll_for_a_while(held.as_mut());
        first.complete("forgotten").wait().unwrap();
        engine.forget("key").wait().unwrap();
        let second = acquire(&engine, "key");
        let mut once = pin!(engine.once("key").run_async(async |_| Ok::<_, String>("ran".to_owned())));
        poll_for_a_while(once.as_mut());
        second.complete("current").wait().unwrap();
        let outcome = futures_lite::future::block_on(once).unwrap();
        assert!(outcome.is_replay());
        assert_eq!(outcome.value(), "current");
    }
}

/// A waiter for one request got the outcome of another, although a direct acquire is refused.
#[test]
fn rule_8_a_waiter_does_not_get_the_outcome_of_another_request() {
    for store in stores() {
        for succeeds in [true, false] {
            let engine = Engine::new(store.clone()).unwrap();
            let key = if succeeds { "completes" } else { "fails" };
            let lapsing = acquire(&engine, key);
            let mut waiting =
                pin!(engine.once(key).fingerprint("A").run_async(async |_| Ok::<_, String>("A".to_owned())));
            poll_for_a_while(waiting.as_mut());
            // The waiter may try only after another request has acquired the key.
            lapsing.release().wait().unwrap();
            let other = engine.acquire(key).fingerprint("B").wait().unwrap();
            let Acquisition::Acquired(other) = other else { panic!("{other:?}") };
            if succeeds {
                other.complete("B").wait().unwrap();
            } else {
                other.fail("B").wait().unwrap();
            }
            let outcome = futures_lite::future::block_on(waiting);
            assert!(
                matches!(outcome, Err(OnceError::Engine(Error::FingerprintMismatch))),
                "{:?}",
                outcome.map(drop)
            );
        }
    }
}

/// A waiter was woken when the key became free, and was not polled. No other waiter was woken, and
/// another thread waited for eight seconds.
#[test]
fn a_waiter_that_is_not_polled_does_not_block_a_free_key() {
    for store in stores() {
        let engine = Engine::new(store).unwrap();
        let lease = acquire(&engine, "key");
        let work = async |_: &Lease| Ok::<_, String>("never polled again".to_owned());
        let mut idle: Vec<_> = (0..3).map(|_| Box::pin(engine.once("key").run_async(work))).collect();
        idle.iter_mut().for_each(|waiter| poll_for_a_while(waiter.as_mut()));
        // Not in a scope, so that the test fails even if the threads wait forever.
        let others: Vec<_> = (0..3)
            .map(|_| {
                let engine = engine.clone();
                thread::spawn(move || engine.once("key").run(|_| Ok::<_, String>("ran".to_owned())).unwrap())
            })
            .collect();
        thread::park_timeout(Duration::from_millis(20));
        lease.release().wait().unwrap();
        eventually("the others are done", || others.iter().all(thread::JoinHandle::is_finished));
        let outcomes: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.is_replay()).count(), 1);
        assert!(outcomes.iter().all(|outcome| outcome.value() == "ran"));
        for waiter in idle {
            let outcome = futures_lite::future::block_on(waiter).unwrap();
            assert_eq!((outcome.is_replay(), outcome.value().as_str()), (true, "ran"));
        }
    }
}

#[test]
fn the_timeout_of_a_wait_begins_with_the_call() {
    let clock = ManualClock::new();
    let engine = Engine::new(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())))).unwrap();
    let _lease = engine.acquire("key").ttl(2 * HOUR).wait().unwrap();
    let waiting = engine.wait_for("key", HOUR);
    clock.advance(HOUR);
    let view = waiting.wait().unwrap().unwrap();
    assert_eq!(view.state(), State::InProgress);
}

#[test]
fn a_wait_ends_with_an_error_when_the_store_does_not_answer_in_time() {
    let store = Arc::new(late(Arc::new(MemoryStore::new())));
    let engine = Engine::new(store.clone()).unwrap();
    let closed = store.gate.lock();
    let error = engine.wait_for("key", Duration::from_millis(1)).wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(closed);
    assert!(engine.wait_for("key", Duration::from_secs(20)).wait().unwrap().is_none());
}

#[test]
fn failed_readings_end_a_wait_only_when_three_come_in_a_row() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let engine = Engine::new(driven.clone()).unwrap();
    let lease = engine.acquire("key").ttl(2 * HOUR).wait().unwrap();
    let step = engine.settings().schedule.poll_every;
    let read = |count: usize| {
        for _ in 0..count {
            let before = store.loads.load(Ordering::SeqCst);
            clock.advance(step);
            eventually("the key is read", || store.loads.load(Ordering::SeqCst) > before);
            thread::park_timeout(Duration::from_millis(5));
        }
    };
    let mut waiting = pin!(engine.wait_for("key", HOUR));
    assert!(poll(waiting.as_mut()).is_pending());
    for _ in 0..3 {
        store.loads_fail.store(true, Ordering::SeqCst);
        read(1);
        assert!(poll(waiting.as_mut()).is_pending(), "one failure is none");
        store.loads_fail.store(false, Ordering::SeqCst);
        read(1);
        assert!(poll(waiting.as_mut()).is_pending(), "failures do not add up");
    }
    store.loads_fail.store(true, Ordering::SeqCst);
    read(4);
    let error = futures_lite::future::block_on(waiting).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(lease);
}

#[test]
fn a_waiter_detects_writes_of_another_process_within_poll_every() {
    let clock = ManualClock::new();
    let records = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(silent(&records, &clock).1).unwrap();
    let other = Engine::new(records).unwrap();
    let lease = acquire(&other, "key");
    let waiting = engine.wait_for("key", HOUR);
    lease.complete("done").wait().unwrap();
    clock.advance(engine.settings().schedule.poll_every);
    assert_eq!(waiting.wait().unwrap().unwrap().state(), State::Completed);
}

/// Each key with a waiter had its own task with a future of 1.4 kB.
#[test]
fn a_key_with_a_waiter_takes_little_memory() {
    const KEYS: usize = 2_000;
    let engine = Engine::new(Arc::new(MemoryStore::with_clock(Arc::new(ManualClock::new())))).unwrap();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key number {number:06}")).collect();
    let leases: Vec<_> = keys.iter().map(|key| acquire(&engine, key)).collect();
    let mut waits = Vec::with_capacity(KEYS);
    let info = allocation_counter::measure(|| {
        waits.extend(keys.iter().map(|key| engine.wait_for(key, HOUR)));
        for wait in &mut waits {
            assert!(poll(Pin::new(wait)).is_pending());
        }
    });
    let bytes = usize::try_from(info.bytes_current).unwrap() / KEYS;
    println!("{bytes} bytes per key that is waited for, with its waiter's future");
    assert!(bytes < 1_000, "{bytes} bytes per key that is waited for");
    // The tables keep their size. No entry, timer or future is left.
    let freed = -allocation_counter::measure(|| drop(waits)).bytes_current;
    let freed = usize::try_from(freed).unwrap() / KEYS;
    assert!(freed * 10 > bytes * 8, "of {bytes} bytes per key only {freed} are given back");
    drop(leases);
}
