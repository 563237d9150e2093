//! Operations that the store executes in one step.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::rules::{Acquire, Command};
use lessor_core::store::{Execution, Operation, OwnedOperation, Reply, Snapshot};
use lessor_core::{Acquisition, Engine, Error, Key, Lease, LeaseId, State, Store, Timestamp, Token};
use lessor_memory::MemoryStore;
use lessor_testkit::{Layer, Layered, ManualClock};
use parking_lot::Mutex;

const TTL: Duration = Duration::from_secs(60);

/// Lets time pass before the next operation, and counts loads.
struct Paused {
    inner: MemoryStore,
    clock: ManualClock,
    pause: Mutex<Duration>,
    loads: AtomicUsize,
}

impl Layer for Paused {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.inner.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.clock.advance(std::mem::take(&mut *self.pause.lock()));
        self.inner.execute(operation)
    }
}

fn paused() -> (Engine, Arc<Layered<Paused>>, ManualClock) {
    let clock = ManualClock::new();
    let inner = MemoryStore::with_clock(Arc::new(clock.clone()));
    let paused = Paused { inner, clock: clock.clone(), pause: Mutex::default(), loads: AtomicUsize::new(0) };
    let paused = Arc::new(Layered(paused));
    let store = clock.driving(Arc::clone(&paused) as Arc<dyn Store>);
    (Engine::new(store).unwrap(), paused, clock)
}

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn state(engine: &Engine) -> State {
    engine.status("key").wait().unwrap().unwrap().state()
}

#[test]
fn p1_an_operation_uses_the_clock_of_its_step() {
    let (engine, store, _) = paused();
    let lease = acquire(&engine);
    // The caller is suspended, and continues after other callers have seen its lease lapse.
    *store.pause.lock() = TTL;
    assert!(matches!(lease.extend(TTL).wait(), Err(Error::Lapsed)));
    assert_eq!(state(&engine), State::Lapsed);
}

/// Refusals and replays show the record at the time at which it was read, and not at an earlier
/// reading of the clock.
#[test]
fn rule_12_a_refusal_uses_the_clock_of_its_step() {
    let (engine, store, clock) = paused();
    let _lease = acquire(&engine);
    *store.pause.lock() = Duration::from_secs(20);
    let Acquisition::InProgress(view) = engine.acquire("key").wait().unwrap() else { panic!() };
    assert_eq!(view.ttl_left(), Some(TTL - Duration::from_secs(20)));
    clock.advance(TTL);
    assert_eq!(acquire(&engine).attempt(), 2);
}

#[test]
fn p2_a_grant_in_one_step_gets_a_token_above_all_purged_ones() {
    let now = 1_000_000;
    for floor in [now - 1, now, now + 1, now + 1_000] {
        let command = Command::Acquire(Acquire::new(LeaseId::from_bytes([7; 16]), TTL));
        let operation = OwnedOperation::new(Key::new("key").unwrap(), command, TTL);
        let mut slot = None;
        let floor = Token::from_u64(floor).unwrap();
        assert!(
            operation.apply((&mut slot).into(), Some(floor), Timestamp::from_micros(now).unwrap()).is_write()
        );
        let token = slot.unwrap().token();
        assert!(token > floor && token.as_u64() >= now, "{token} after {floor}");
    }
}

#[test]
fn a_waiter_is_woken_by_work_that_ends_in_one_step() {
    for outcome in [State::Completed, State::Failed, State::Released] {
        let (engine, store, _) = paused();
        let lease = acquire(&engine);
        let before = store.loads.load(Ordering::SeqCst);
        thread::scope(|scope| {
            let hour = Duration::from_secs(3600);
            let waiting = scope.spawn(move || engine.wait_for("key", hour).wait().unwrap().unwrap().state());
            // The clock stands still, so there is no second reading.
            while store.loads.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
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
fn p6_a_repeated_outcome_is_recognised_and_written_once() {
    let (engine, ..) = paused();
    let lease = acquire(&engine);
    let first = lease.complete("done").wait().unwrap();
    let again = lease.complete("done").wait().unwrap();
    assert_eq!(again.version(), first.version());
    assert!(again.is_duplicate() && !first.is_duplicate());
    assert!(matches!(lease.complete("else").wait(), Err(Error::Finished { .. })));
}
