//! Time that passes between a decision and its write, and equal writes through two handles.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Key, Lease, State, Store, Timestamp, View};
use lessor_memory::MemoryStore;
use lessor_testkit::{Fault, Faults, Jumps, Level, ManualClock};
use parking_lot::Mutex;

const TTL: Duration = Duration::from_secs(60);

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

const LEVELS: [Level; 2] = [Level::Operations, Level::Swaps];

fn jumping(level: Level) -> (Engine, Jumps, ManualClock) {
    let clock = ManualClock::new();
    let memory = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let (store, jumps) = Jumps::over(memory, clock.clone(), level);
    (Engine::new(store).unwrap(), jumps, clock)
}

/// Regression test: a completion was decided, its thread was suspended, and it was written five
/// seconds after the lease had lapsed. It was reported as in time, with a time of completion that
/// was five seconds too early.
#[test]
fn an_outcome_has_the_time_of_its_write_and_not_of_its_decision() {
    for level in LEVELS {
        // The remaining time of the lease at the decision, and the time until the write, in ms.
        let cases = [
            (2_000, 0, false),
            (2_000, 300, false),
            (500, 800, true),
            (2_000, 5_000, true),
            (2_000, 65_000, true),
        ];
        for (left, jump, late) in cases {
            let (engine, jumps, clock) = jumping(level);
            let lease = acquire(&engine);
            clock.advance(TTL - Duration::from_millis(left));
            jumps.jump([Duration::from_millis(jump)]);
            let ack = lease.complete("result").wait().unwrap();
            assert_eq!(ack.is_late(), late, "{jump} ms, {level:?}");
            let view = engine.status("key").wait().unwrap().unwrap();
            assert_eq!(view.done_at(), Some(clock.now()), "{jump} ms, {level:?}");
            let again = lease.complete("result").wait().unwrap();
            assert_eq!((again.is_late(), again.version()), (late, ack.version()));
        }
    }
}

/// An outcome is stored although each attempt takes a long time.
#[test]
fn an_outcome_is_stored_in_a_slow_store() {
    let (engine, jumps, clock) = jumping(Level::Swaps);
    let lease = acquire(&engine);
    jumps.jump([Duration::from_secs(10); 1000]);
    let ack = lease.complete("result").wait().unwrap();
    assert_eq!((ack.version().as_u64(), ack.is_late()), (2, false));
    assert_eq!(engine.status("key").wait().unwrap().unwrap().done_at(), Some(clock.now()));
}

/// A waiter of the same engine receives the stored time.
#[test]
fn a_waiter_receives_the_stored_time() {
    let (engine, jumps, clock) = jumping(Level::Swaps);
    let lease = acquire(&engine);
    let waiting = engine.wait_for("key", TTL);
    jumps.jump([Duration::from_millis(500)]);
    lease.complete("result").wait().unwrap();
    assert_eq!(waiting.wait().unwrap().unwrap().done_at(), Some(clock.now()));
}

/// A clock whose next reading lets another thread extend the lease, if it can, and then advances.
#[derive(Debug)]
struct InterferingClock {
    clock: ManualClock,
    lease: Mutex<Option<Lease>>,
    extended: Arc<Mutex<Option<bool>>>,
}

impl Clock for InterferingClock {
    fn now(&self) -> Timestamp {
        // A separate statement, which unlocks the mutex, so that the other thread can read the
        // clock.
        let lease = self.lease.lock().take();
        if let Some(lease) = lease {
            let extended = Arc::clone(&self.extended);
            let extends = std::thread::spawn(move || {
                let answer = lease.extend(TTL).wait();
                *extended.lock() = Some(answer.is_ok());
                std::mem::forget(lease);
            });
            for _ in 0..20 {
                if extends.is_finished() {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            self.clock.advance(Duration::from_secs(2));
        }
        self.clock.now()
    }
}

/// Regression test: a view combined a record with a later reading of the clock. The lease had been
/// extended in between, and was shown as lapsed.
#[test]
fn a_view_combines_a_record_with_the_time_of_its_reading() {
    let clock = ManualClock::new();
    let extended = Arc::<Mutex<Option<bool>>>::default();
    let interfering = Arc::new(InterferingClock {
        clock: clock.clone(),
        lease: Mutex::default(),
        extended: extended.clone(),
    });
    let store = Arc::new(MemoryStore::with_clock(Arc::clone(&interfering) as Arc<dyn Clock>));
    let lease = acquire(&Engine::new(store.clone()).unwrap());
    clock.advance(TTL - Duration::from_secs(1));
    *interfering.lease.lock() = Some(lease);
    // Without an engine, whose background thread reads the clock as well.
    let seen = store.load(&Key::new("key").unwrap()).wait().unwrap();
    let view = View::of(&seen.record.unwrap(), seen.now).unwrap();
    while extended.lock().is_none() {
        std::thread::yield_now();
    }
    let was_extended = *extended.lock() == Some(true);
    assert_eq!(view.state() == State::Lapsed, !was_extended, "it is shown as lapsed, and was extended");
}

/// Regression test: two handles of one lease made the same write concurrently, and the reply to one
/// of them was lost. Both reported that they had written version 2.
#[test]
fn p10_two_equal_writes_through_two_handles_are_not_both_acknowledged_as_written() {
    type Write = fn(&lessor_core::LeaseHandle) -> lessor_core::Ack;
    let writes: [(&str, Write); 5] = [
        ("extend", |held| held.extend(2 * TTL).wait().unwrap()),
        ("checkpoint", |held| held.checkpoint("half").wait().unwrap()),
        ("complete", |held| held.complete("result").wait().unwrap()),
        ("fail", |held| held.fail("code").wait().unwrap()),
        ("release", |held| held.release().wait().unwrap()),
    ];
    for (name, write) in writes {
        for fault in [Fault::LostRequest, Fault::LostReply] {
            let clock = ManualClock::new();
            let memory = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
            let (faulty, faults) = Faults::over(memory.clone(), Level::Swaps);
            let (sound, shaky) = (Engine::new(memory).unwrap(), Engine::new(faulty).unwrap());
            let lease = acquire(&sound);
            let other = shaky.lease_handle("key", *lease.lease_id()).unwrap();
            // The second handle reads, decides and sends. Before the engine reads again, the first
            // handle writes the same.
            faults.script([Fault::None, fault, Fault::HeldRequest]);
            let (first, second) = std::thread::scope(|scope| {
                let second = scope.spawn(|| write(&other));
                while faults.held() == 0 {
                    std::thread::yield_now();
                }
                let first = write(&lease.handle());
                assert!(faults.release_first());
                (first, second.join().unwrap())
            });
            let view = sound.status("key").wait().unwrap();
            let version = view.map_or(0, |view| view.version().as_u64());
            let written = [first, second].into_iter().filter(|ack| !ack.is_duplicate());
            let mut versions: Vec<_> = written.map(|ack| ack.version().as_u64()).collect();
            versions.sort_unstable();
            let before = versions.len();
            versions.dedup();
            assert_eq!(versions.len(), before, "{name}, {fault:?}: {first:?}, {second:?}");
            assert!(versions.iter().all(|written| *written <= version));
        }
    }
}

/// Regression test: with the clock at 0 the first token was 0, which no store considers higher than
/// the token of a record that it never purged. Nothing could be granted.
#[test]
fn all_operations_work_with_the_clock_at_zero() {
    for level in LEVELS {
        let clock = ManualClock::starting_at(Timestamp::EPOCH);
        let memory = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let (store, _) = Jumps::over(memory, clock.clone(), level);
        let engine = Engine::new(store.clone()).unwrap();
        let lease = acquire(&engine);
        assert_eq!(lease.token().as_u64(), 1);
        lease.extend(TTL).wait().unwrap();
        assert!(!lease.abandon().wait().unwrap().is_late());
        let lease = acquire(&engine);
        assert_eq!((lease.token().as_u64(), lease.attempt()), (2, 2));
        lease.release().wait().unwrap();
        let released = store.load(&Key::new("key").unwrap()).wait().unwrap().record.unwrap();
        assert_eq!(released.done_at(), Some(Timestamp::EPOCH));
        let lease = acquire(&engine);
        assert!(!lease.complete("result").wait().unwrap().is_late());
        let view = engine.status("key").wait().unwrap().unwrap();
        assert_eq!((view.state(), view.done_at()), (State::Completed, Some(Timestamp::EPOCH)));
        assert!(engine.forget("key").wait().unwrap());
        assert!(acquire(&engine).token().as_u64() > 2);
    }
}
