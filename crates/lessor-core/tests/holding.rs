//! A holder comes first: its lease is renewed, and the holder notified of its loss, whatever else the engine or its callers do.

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

/// Until `done`, or a generous deadline.
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

/// A purge of four million records ran on the only background thread of the engine. Leases that were kept alive were not renewed
/// meanwhile, others were granted their keys, and `lost` fired long after that.
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
fn an_engines_threads_end_with_its_last_handle_and_let_go_of_the_store() {
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

/// The purge did not yield between its batches either: it asked for the next one for as long as there was more.
#[test]
fn a_purge_goes_on_until_nothing_is_due_and_in_bounded_steps() {
    let clock = ManualClock::new();
    let (store, driven) = switched(&clock);
    let engine = Engine::new(driven.clone()).unwrap();
    for number in 0..5_000 {
        acquire(&engine, &format!("key {number}")).complete(&number).wait().unwrap();
    }
    // The clock makes one step: the purge is due once.
    clock.advance(engine.settings().limits.retention + engine.settings().schedule.purge_every);
    eventually("all are purged", || store.is_empty());
    let purges = store.purges.load(Ordering::SeqCst);
    assert!(purges > 9, "5000 records were purged in {purges} steps");
}

/// A second handle gave the lease up. The first one's `extend` was refused, but its `is_lost` stayed false, even once somebody
/// else held the key; and with keep-alive `lost` came only with the next renewal.
#[test]
fn rule_15_lost_fires_when_the_lease_is_given_up_through_another_handle() {
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

/// `lost` fired after 3.3 s of a ttl of ten, and after 100 s of the default ttl, though the key was taken away in the same
/// engine. The clock of this test stands still: no renewal comes to notice it.
#[test]
fn rule_15_lost_fires_at_once_when_an_operator_forces_the_key_away() {
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

/// The same, where another engine over the same records takes the key away and the store notifies this one.
#[test]
fn rule_15_lost_fires_by_the_stores_hint() {
    let store = Arc::new(MemoryStore::with_clock(Arc::new(ManualClock::new())));
    let (one, other) = (Engine::new(store.clone()).unwrap(), Engine::new(store).unwrap());
    let lease = acquire(&one, "key").keep_alive();
    assert!(other.forget_forced("key").wait().unwrap());
    lease.lost().wait();
}

/// The same, where nothing notifies this engine: its background looks every `poll_every`.
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

/// On a clock that runs by itself: the steps of one that is set by hand are hints.
#[test]
fn rule_15_a_held_key_is_looked_at_every_poll_every() {
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
    // A renewal, or a look at the record before it.
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

/// Blocks until it is let go.
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

/// A caller's waker that panicked ended the background thread for good. One that blocked kept other leases from being renewed,
/// and their holders from being notified.
#[test]
fn rule_15_no_waker_of_a_caller_keeps_another_lease_from_being_renewed_or_its_holder_from_being_notified() {
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

/// A single failed look at the clock ended the renewals of a lease, the reader of a waited-for key, and purging, for good.
#[test]
fn a_clock_that_fails_for_a_while_ends_neither_renewals_nor_waits_nor_purges() {
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
        // The purge ends, and the background looks at its timers, without a clock.
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

/// Many leases were given up at once. Each was a task of its own in the background, with its request under way.
#[test]
fn leases_that_are_given_up_wait_in_line_and_take_little_room() {
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
            // Forced away afterwards: the work is over, and nobody has to stop.
            assert!(engine.forget_forced(lease.key()).wait().unwrap());
            thread::park_timeout(Duration::from_millis(20));
            poll_once(lost.as_mut(), Waker::noop());
            assert!(!lease.is_lost());
        }
    }
}

#[test]
fn a_holder_that_is_told_that_there_is_no_record_has_lost_its_lease() {
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
fn a_renewal_that_fails_is_tried_again() {
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
fn a_lease_is_renewed_up_to_max_hold_and_no_longer() {
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
    // In steps in which a renewal would be due, and would come in time.
    for _ in 0..4 {
        clock.advance(TTL / 4);
        thread::park_timeout(Duration::from_millis(30));
    }
    assert!(lease.is_lost());
    assert_eq!(version(&engine, "key"), last);
}

#[test]
fn a_lease_by_a_foreign_id_is_not_lost_by_what_happens_to_the_key() {
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
