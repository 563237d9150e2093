//! A store on a server can only estimate the server's time, so `now` is ahead. Decisions that
//! depend on the exact time use the server's clock, at the write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Reply, Snapshot};
use lessor_core::{
    Acquisition, Backoff, Engine, Error, Key, Lease, OnFailed, Pending, State, Store, Timestamp,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{ManualClock, Retrying, SwapLayer, swap};

const TTL: Duration = Duration::from_secs(60);
const AHEAD: Duration = Duration::from_secs(2);

struct Estimating(Arc<dyn Store>, Arc<AtomicUsize>);

impl SwapLayer for Estimating {
    fn below(&self) -> &Arc<dyn Store> {
        &self.0
    }

    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(self.0.now().wait().map(|now| now.saturating_add(AHEAD)))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        Pending::ready(swap(&*self.0, key, change).wait().map(|swap| match swap {
            CasResult::Conflict(seen) => {
                CasResult::Conflict(Snapshot::new(seen.record, seen.now.saturating_add(AHEAD)))
            }
            exact => exact,
        }))
    }
}

fn engine() -> (Engine, ManualClock) {
    counting(&Arc::default())
}

/// Returns an engine whose store counts its reads.
fn counting(loads: &Arc<AtomicUsize>) -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let store = Retrying::over(Estimating(store, loads.clone()));
    (Engine::new(Arc::new(store)).unwrap(), clock)
}

fn take(acquired: Acquisition) -> Lease {
    match acquired {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn p7_no_lease_is_taken_over_before_the_exact_clock_reaches_its_end() {
    let (engine, clock) = engine();
    let lease = take(engine.acquire("key").ttl(TTL).wait().unwrap());
    // The lease has lapsed by the estimate, but is live for another second by the clock.
    clock.advance(TTL + AHEAD - Duration::from_secs(1));
    let Acquisition::InProgress(view) = engine.acquire("key").wait().unwrap() else { panic!("P1, P7") };
    assert_eq!(view.ttl_left(), Some(Duration::from_secs(1)));
    assert!(lease.is_lost(), "its holder stops early, never late");
    clock.advance(Duration::from_secs(1));
    assert!(take(engine.acquire("key").wait().unwrap()).token() > lease.token());
}

#[test]
fn p7_no_failure_is_retried_before_the_exact_clock_reaches_the_end_of_its_backoff() {
    let (engine, clock) = engine();
    let retry = OnFailed::Retry { max_attempts: 2, backoff: Backoff::fixed(TTL) };
    take(engine.acquire("key").wait().unwrap()).fail("code").wait().unwrap();
    clock.advance(TTL - Duration::from_secs(1));
    assert!(matches!(engine.acquire("key").on_failed(retry).wait().unwrap(), Acquisition::Failed(_)));
    clock.advance(AHEAD + Duration::from_secs(1));
    assert_eq!(take(engine.acquire("key").on_failed(retry).wait().unwrap()).attempt(), 2);
}

#[test]
fn a_lease_that_is_live_by_the_exact_clock_can_be_extended() {
    let (engine, clock) = engine();
    let lease = take(engine.acquire("key").ttl(TTL).wait().unwrap());
    clock.advance(TTL + AHEAD - Duration::from_secs(1));
    lease.extend(TTL).wait().unwrap();
    assert_eq!(engine.status("key").wait().unwrap().unwrap().state(), State::InProgress);
    clock.advance(2 * TTL);
    assert!(matches!(lease.extend(TTL).wait(), Err(Error::Lapsed)));
}

/// The next poll was due at a time of the server's clock that `now` had passed long before, for
/// example because the server's clock had been set back. So waiters read the store without a pause.
#[test]
fn p7_a_waiter_pauses_between_readings_while_the_estimate_is_ahead() {
    let loads = Arc::new(AtomicUsize::new(0));
    let (engine, clock) = counting(&loads);
    let lease = take(engine.acquire("key").ttl(AHEAD / 2).wait().unwrap());
    let begun = loads.load(Ordering::SeqCst);
    let waiting = engine.wait_for("key", TTL);
    let waiting = std::thread::spawn(move || waiting.wait().unwrap().unwrap().state());
    while loads.load(Ordering::SeqCst) == begun {
        std::thread::yield_now();
    }
    // The clock stands still, so nothing is due.
    std::thread::park_timeout(Duration::from_millis(50));
    assert!(loads.load(Ordering::SeqCst) < begun + 5, "it reads without a pause");
    clock.advance(2 * AHEAD);
    assert_eq!(waiting.join().unwrap(), State::Lapsed);
    drop(lease);
}

#[test]
fn a_lease_left_in_doubt_ends_by_the_exact_clock() {
    let (engine, clock) = engine();
    let lease = take(engine.acquire("key").ttl(TTL).wait().unwrap());
    clock.advance(2 * AHEAD);
    lease.leave_in_doubt().wait().unwrap();
    let view = engine.status("key").wait().unwrap().unwrap();
    assert_eq!((view.state(), view.is_in_doubt()), (State::Lapsed, true));
}

/// An abandoned lease ended at the estimated time, and stayed live until the clock reached it.
#[test]
fn an_abandoned_lease_ends_by_the_exact_clock() {
    let (engine, clock) = engine();
    let lease = take(engine.acquire("key").ttl(TTL).wait().unwrap());
    // The step is larger than the estimate was ahead at the grant. Before that the lease is seen as
    // it was then.
    clock.advance(2 * AHEAD);
    lease.abandon().wait().unwrap();
    assert_eq!(engine.status("key").wait().unwrap().unwrap().state(), State::Lapsed);
    let other = take(engine.acquire("other").ttl(TTL).wait().unwrap());
    clock.advance(2 * AHEAD);
    drop(other);
    assert!(engine.close(TTL).wait().unwrap().is_complete());
    assert_eq!(engine.status("other").wait().unwrap().unwrap().state(), State::Lapsed);
}
