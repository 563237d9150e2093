//! Holders have priority: leases are renewed, and holders are notified of a loss, independent of
//! all other work of the engine and its callers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod late;
mod switched;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use late::late;
use lessor_core::{Acquisition, Engine, Error, Lease, LeaseId, Settings, Store};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use parking_lot::Mutex;
use switched::{silent, switched};

const TTL: Duration = Duration::from_secs(60);

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn version(engine: &Engine, key: &str) -> u64 {
    engine.status(key).wait().unwrap().unwrap().version().as_u64()
}

/// Polls until `done` returns true, up to a generous deadline.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Lets a third of the ttl pass, and waits for the renewal that is due then.
fn renewed(engine: &Engine, clock: &ManualClock, key: &str) {
    let before = version(engine, key);
    clock.advance(TTL / 3);
    eventually("the lease is renewed", || version(engine, key) > before);
}

/// A purge of four million records ran on the only background thread of the engine. Meanwhile
/// leases that were kept alive were not renewed, other callers were granted their keys, and `lost`
/// fired too late.
#[test]
fn p7_a_lease_is_renewed_while_a_purge_does_not_return() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let mut settings = Settings::default();
    settings.schedule.purge_every = Duration::from_secs(1);
    let engine = Engine::with_settings(driven.clone(), settings).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    let closed = store.purge_gate.lock();
    clock.advance(Duration::from_secs(1));
    eventually("a purge has begun", || store.purges.load(Ordering::SeqCst) > 0);
    for _ in 0..6 {
        renewed(&engine, &clock, "key");
        assert!(!lease.is_lost());
    }
    drop(closed);
}

#[test]
fn an_engines_threads_end_with_its_last_handle_and_release_the_store() {
    let clock = ManualClock::new();
    for store in stores(&clock) {
        let left = Arc::downgrade(&store);
        let engine = Engine::new(store).unwrap();
        let lease = acquire(&engine, "key").keep_alive();
        drop(engine);
        assert!(left.upgrade().is_some(), "the lease is a handle too");
        lease.complete("done").wait().unwrap();
        drop(lease);
        eventually("nobody has the store any more", || left.upgrade().is_none());
    }
}

/// The purge did not yield between its slices: it continued as long as there was more.
#[test]
fn a_purge_continues_in_bounded_steps_until_nothing_is_due() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let engine = Engine::new(driven.clone()).unwrap();
    for number in 0..5_000 {
        acquire(&engine, &format!("key {number}")).complete(&number).wait().unwrap();
    }
    // The clock is advanced once, so the purge is due once.
    clock.advance(engine.settings().limits.retention + engine.settings().schedule.purge_every);
    eventually("all are purged", || store.is_empty());
    let purges = store.purges.load(Ordering::SeqCst);
    assert!(purges > 9, "5000 records were purged in {purges} steps");
}

/// After a lease was abandoned through a second handle, the first one's `extend` was refused, but
/// its `is_lost` stayed false, even after another caller had acquired the key. With keep-alive,
/// `lost` fired only at the next renewal.
#[test]
fn rule_15_lost_fires_when_the_lease_is_abandoned_through_another_handle() {
    for store in stores(&ManualClock::new()) {
        let engine = Engine::new(store).unwrap();
        let kept = acquire(&engine, "kept").keep_alive();
        engine.lease_handle("kept", *kept.lease_id()).unwrap().abandon().wait().unwrap();
        kept.lost().wait();
        assert!(kept.is_lost());

        let plain = acquire(&engine, "plain");
        engine.lease_handle("plain", *plain.lease_id()).unwrap().abandon().wait().unwrap();
        assert!(matches!(plain.extend(TTL).wait(), Err(Error::Lapsed)));
        assert!(plain.is_lost());
        plain.lost().wait();
        let ack = plain.complete("late").wait().unwrap();
        assert!(ack.is_late(), "nobody else was granted the key: the outcome counts");
        assert!(!plain.is_lost());
    }
}

#[test]
fn a_holder_knows_the_time_that_is_left_of_its_lease() {
    let clock = ManualClock::new();
    for store in stores(&clock) {
        let engine = Engine::new(store).unwrap();
        let lease = acquire(&engine, "key");
        assert_eq!(lease.time_left(), TTL);
        clock.advance(TTL / 3);
        assert_eq!(lease.time_left(), TTL - TTL / 3);
        lease.extend(2 * TTL).wait().unwrap();
        assert_eq!(lease.time_left(), 2 * TTL);
        clock.advance(2 * TTL - Duration::from_millis(1));
        assert!(lease.is_lost(), "the margin is over");
        assert_eq!(lease.time_left(), Duration::from_millis(1), "and the lease is not");
        clock.advance(Duration::from_secs(1));
        assert_eq!(lease.time_left(), Duration::ZERO);
        let taken = acquire(&engine, "key");
        taken.complete("done").wait().unwrap();
        assert_eq!(taken.time_left(), Duration::ZERO);
    }
}

/// `lost` fired after 3.3 s with a ttl of 10 s, and after 100 s with the default ttl, although the
/// same engine had removed the lease. The clock of this test stands still, so no renewal detects
/// it.
#[test]
fn rule_15_lost_fires_immediately_when_an_operator_forgets_the_key() {
    for store in stores(&ManualClock::new()) {
        let engine = Engine::new(store).unwrap();
        let kept = acquire(&engine, "kept").keep_alive();
        assert!(engine.forget_forced("kept").wait().unwrap());
        kept.lost().wait();
        let waited_for = acquire(&engine, "waited for");
        thread::scope(|scope| {
            let lost = scope.spawn(|| waited_for.lost().wait());
            thread::park_timeout(Duration::from_millis(5));
            assert!(engine.forget_forced("waited for").wait().unwrap());
            lost.join().unwrap();
        });
        let watched_later = acquire(&engine, "watched later");
        assert!(engine.forget_forced("watched later").wait().unwrap());
        watched_later.lost().wait();
        assert!(kept.is_lost() && waited_for.is_lost() && watched_later.is_lost());
    }
}

/// Another engine over the same records removes the lease, and the store notifies this engine.
#[test]
fn rule_15_lost_fires_after_a_hint_of_the_store() {
    let store = Arc::new(MemoryStore::with_clock(Arc::new(ManualClock::new())));
    let (one, other) = (Engine::new(store.clone()).unwrap(), Engine::new(store).unwrap());
    let lease = acquire(&one, "key").keep_alive();
    assert!(other.forget_forced("key").wait().unwrap());
    lease.lost().wait();
}

/// Another engine removes the lease without a notification, so this engine detects it at its next
/// poll.
#[test]
fn rule_15_lost_fires_within_poll_every_without_a_hint() {
    let clock = ManualClock::new();
    let records = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(silent(&records, &clock).1).unwrap();
    let other = Engine::new(records).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    assert!(other.forget_forced("key").wait().unwrap());
    let _next = acquire(&other, "key");
    assert!(!lease.is_lost(), "nothing has notified the engine yet");
    thread::scope(|scope| {
        let lost = scope.spawn(|| lease.lost().wait());
        let step = engine.settings().schedule.poll_every / 4;
        let mut passed = Duration::ZERO;
        eventually("lost", || {
            clock.advance(step);
            passed += step;
            lost.is_finished()
        });
        assert!(passed < TTL / 3, "not before the next renewal: {passed:?}");
    });
}

/// Uses a real clock, because advancing a manual one sends hints.
#[test]
fn rule_15_a_held_key_is_checked_every_poll_every() {
    let records = Arc::new(MemoryStore::new());
    let mut settings = Settings::default();
    settings.schedule.poll_every = Duration::from_millis(20);
    let (silent, driven) = silent(&records, &ManualClock::new());
    let engine = Engine::with_settings(driven, settings).unwrap();
    let other = Engine::new(records).unwrap();
    // The renewal is due after eight hours.
    let lease = match engine.acquire("key").ttl(engine.settings().limits.max_ttl).wait().unwrap() {
        Acquisition::Acquired(lease) => lease.keep_alive(),
        other => panic!("{other:?}"),
    };
    eventually("the record is looked at", || silent.loads.load(Ordering::SeqCst) > 3);
    assert!(other.forget_forced("key").wait().unwrap());
    eventually("the loss is noticed long before the renewal", || lease.is_lost());
}

#[test]
fn rule_15_lost_fires_in_time_while_the_store_does_not_answer() {
    let clock = ManualClock::new();
    let store = Arc::new(late(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())))));
    let engine = Engine::new(clock.driving(store.clone())).unwrap();
    let lease = Arc::new(acquire(&engine, "key").keep_alive());
    let lost = thread::spawn({
        let lease = Arc::clone(&lease);
        move || lease.lost().wait()
    });
    let closed = store.gate.lock();
    // The request in flight is a renewal, or a check of the record before it.
    let requests = || store.swaps.load(Ordering::SeqCst) + store.loads.load(Ordering::SeqCst);
    let before = requests();
    clock.advance(TTL / 3);
    eventually("a request is under way", || requests() > before);
    assert!(!lost.is_finished());
    clock.advance(TTL - TTL / 3 - Duration::from_secs(1));
    eventually("lost fires", || lost.is_finished());
    drop(closed);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose, in a caller's waker");
    }
}

/// Blocks until it is released.
struct Blocks {
    gate: Mutex<()>,
    blocked: AtomicUsize,
}

impl Wake for Blocks {
    fn wake(self: Arc<Self>) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock());
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

/// A caller's waker that panicked ended the background thread. One that blocked delayed the
/// renewals of other leases and the notifications of their holders.
#[test]
fn rule_15_no_callers_waker_delays_the_renewals_or_notifications_of_other_leases() {
    for panics in [true, false] {
        let clock = ManualClock::new();
        let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
        let engine = Engine::new(store).unwrap();
        let kept = acquire(&engine, "kept").keep_alive();
        let blocks = Arc::new(Blocks { gate: Mutex::new(()), blocked: AtomicUsize::new(0) });
        let waker = if panics { Waker::from(Arc::new(Panics)) } else { Waker::from(Arc::clone(&blocks)) };
        let closed = blocks.gate.lock();

        let (first, second, third) = (acquire(&engine, "1"), acquire(&engine, "2"), acquire(&engine, "3"));
        let (mut one, mut two) = (pin!(first.lost()), pin!(second.lost()));
        poll_once(one.as_mut(), &waker);
        poll_once(two.as_mut(), &waker);
        let mut waiting = pin!(engine.wait_for("3", Duration::from_secs(3600)));
        poll_once(waiting.as_mut(), &waker);
        assert!(engine.forget_forced("1").wait().unwrap());
        assert!(engine.forget_forced("2").wait().unwrap());
        third.complete("done").wait().unwrap();
        if !panics {
            eventually("all three wakers block", || blocks.blocked.load(Ordering::SeqCst) == 3);
        }
        for _ in 0..3 {
            renewed(&engine, &clock, "kept");
        }
        let noticed = Arc::new(Noticed::default());
        let mut lost = pin!(kept.lost());
        poll_once(lost.as_mut(), &Waker::from(Arc::clone(&noticed)));
        assert!(engine.forget_forced("kept").wait().unwrap());
        eventually("the holder is notified", || noticed.0.load(Ordering::SeqCst));
        drop(closed);
    }
}

#[derive(Default)]
struct Noticed(AtomicBool);

impl Wake for Noticed {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A single failed reading of the clock ended the renewals of a lease, the readings for a waiter,
/// and purging.
#[test]
fn a_clock_that_fails_temporarily_does_not_end_renewals_waits_or_purges() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let mut settings = Settings::default();
    settings.schedule.purge_every = Duration::from_secs(5);
    let engine = Engine::with_settings(driven.clone(), settings).unwrap();
    let kept = acquire(&engine, "kept").keep_alive();
    let held = acquire(&engine, "held");
    thread::scope(|scope| {
        let before = store.loads.load(Ordering::SeqCst);
        let waiting = scope.spawn(|| engine.wait_for("held", Duration::from_secs(3600)).wait().unwrap());
        eventually("the waiter has come", || store.loads.load(Ordering::SeqCst) > before);
        let closed = store.purge_gate.lock();
        let purges = store.purges.load(Ordering::SeqCst);
        clock.advance(Duration::from_secs(5));
        eventually("a purge has begun", || store.purges.load(Ordering::SeqCst) > purges);
        store.clock_fails.store(true, Ordering::SeqCst);
        clock.advance(TTL / 3);
        // The purge ends, and the background checks its timers, without a clock.
        drop(closed);
        thread::park_timeout(Duration::from_millis(50));
        store.clock_fails.store(false, Ordering::SeqCst);
        for _ in 0..6 {
            renewed(&engine, &clock, "kept");
        }
        assert!(!kept.is_lost());
        drop(held);
        waiting.join().unwrap();
    });
    let purges = store.purges.load(Ordering::SeqCst);
    eventually("the engine purges", || {
        clock.advance(Duration::from_secs(1));
        store.purges.load(Ordering::SeqCst) > purges
    });
}

/// Each of many abandoned leases had its own task with a request in flight.
#[test]
fn abandoned_leases_are_queued_and_take_little_memory() {
    let store = Arc::new(late(Arc::new(MemoryStore::new())));
    let engine = Engine::new(store.clone()).unwrap();
    let leases: Vec<Lease> = (0..2_000).map(|number| acquire(&engine, &format!("key {number}"))).collect();
    let closed = store.gate.lock();
    let before = store.loads.load(Ordering::SeqCst);
    drop(leases);
    eventually("some are under way", || store.loads.load(Ordering::SeqCst) > before);
    thread::park_timeout(Duration::from_millis(50));
    let under_way = store.loads.load(Ordering::SeqCst) - before;
    assert!(under_way <= 64, "{under_way} requests at the same time");
    drop(closed);
    assert!(engine.close(Duration::from_secs(60)).wait().unwrap().gave_up, "all are given up in the end");
}

#[test]
fn lost_does_not_fire_after_an_outcome() {
    for store in stores(&ManualClock::new()) {
        let engine = Engine::new(store).unwrap();
        for kept in [true, false] {
            let lease = acquire(&engine, if kept { "kept" } else { "not kept" });
            let lease = if kept { lease.keep_alive() } else { lease };
            let mut lost = pin!(lease.lost());
            poll_once(lost.as_mut(), Waker::noop());
            lease.complete("done").wait().unwrap();
            assert!(!lease.is_lost());
            // The record is removed after the outcome, so the holder need not stop.
            assert!(engine.forget_forced(lease.key()).wait().unwrap());
            thread::park_timeout(Duration::from_millis(20));
            poll_once(lost.as_mut(), Waker::noop());
            assert!(!lease.is_lost());
        }
    }
}

#[test]
fn a_lease_without_a_record_is_lost() {
    let clock = ManualClock::new();
    let records = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(silent(&records, &clock).1).unwrap();
    let other = Engine::new(records).unwrap();
    let lease = acquire(&engine, "key");
    assert!(other.forget_forced("key").wait().unwrap());
    assert!(!lease.is_lost(), "the engine does not know it yet");
    assert!(matches!(lease.extend(TTL).wait(), Err(Error::NotFound)));
    assert!(lease.is_lost());
}

#[test]
fn a_failed_renewal_is_retried() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let engine = Engine::new(driven.clone()).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    let before = version(&engine, "key");
    store.failing_swaps.store(2, Ordering::SeqCst);
    clock.advance(TTL / 3);
    eventually("it has failed twice", || {
        clock.advance(TTL / 100);
        store.failing_swaps.load(Ordering::SeqCst) == 0
    });
    eventually("the lease is renewed", || {
        clock.advance(TTL / 100);
        version(&engine, "key") > before
    });
    assert!(!lease.is_lost());
}

#[test]
fn a_lease_is_renewed_for_at_most_max_hold() {
    let clock = ManualClock::new();
    let (_, store) = switched(&clock);
    let mut settings = Settings::default();
    settings.limits.max_hold = 2 * TTL;
    let engine = Engine::with_settings(store, settings).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    for _ in 0..5 {
        renewed(&engine, &clock, "key");
    }
    let last = version(&engine, "key");
    // Time passes in steps in which a renewal becomes due and is in time.
    for _ in 0..4 {
        clock.advance(TTL / 4);
        thread::park_timeout(Duration::from_millis(30));
    }
    assert!(lease.is_lost());
    assert_eq!(version(&engine, "key"), last);
}

#[test]
fn a_handle_with_another_lease_id_is_not_lost_with_the_key() {
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let lease = acquire(&engine, "key").keep_alive();
    let stranger = LeaseId::from_bytes([7; 16]);
    assert!(matches!(
        engine.lease_handle("key", stranger).unwrap().complete("x").wait(),
        Err(Error::NotHolder { .. })
    ));
    assert!(matches!(
        engine.lease_handle("key", stranger).unwrap().abandon().wait(),
        Err(Error::NotHolder { .. })
    ));
    assert!(!lease.is_lost());
}

fn stores(clock: &ManualClock) -> [Arc<dyn Store>; 2] {
    let memory = || Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    [clock.driving(memory()), clock.driving(Arc::new(late(memory())))]
}
