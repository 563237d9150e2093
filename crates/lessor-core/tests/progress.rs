//! Leases that are renewed only while their work makes progress.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use lessor_core::{Acquisition, Engine, Error, Lease, Message, OnceError};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const TTL: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn still() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::new(store).unwrap(), clock)
}

fn acquire(engine: &Engine, key: &str) -> Lease {
    let Acquisition::Acquired(lease) = engine.acquire(key).ttl(TTL).wait().unwrap() else { panic!() };
    lease
}

fn version(engine: &Engine) -> u64 {
    engine.status("key").wait().unwrap().unwrap().version().as_u64()
}

/// Advances the clock, and waits for the renewal that is due then.
fn renewed_after(engine: &Engine, clock: &ManualClock, time: Duration) {
    let before = version(engine);
    clock.advance(time);
    for _ in 0..6000 {
        if version(engine) > before {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("the lease is not renewed");
}

/// Advances the clock second by second, and returns the time after which the lease is lost. A
/// renewal may happen at any time in between.
fn until_lost(clock: &ManualClock, lease: &Lease) -> Duration {
    for seconds in 1..1000 {
        clock.advance(SECOND);
        std::thread::park_timeout(Duration::from_millis(1));
        if lease.is_lost() {
            return seconds * SECOND;
        }
    }
    panic!("the lease is never lost");
}

#[test]
fn a_lease_without_progress_is_lost_after_the_stall_time_and_the_ttl_at_most() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive_while_progressing(STALL);
    renewed_after(&engine, &clock, TTL / 3);
    let lost = TTL / 3 + until_lost(&clock, &lease);
    assert!((TTL..=STALL + TTL).contains(&lost), "lost after {lost:?}");
    clock.advance(TTL);
    let next = acquire(&engine, "key");
    assert_eq!(next.attempt(), 2);
    assert!(matches!(lease.complete("late").wait(), Err(Error::NotHolder { .. })));
}

#[test]
fn each_form_of_progress_keeps_the_lease() {
    type Progress = fn(&Lease);
    let forms: [(&str, Progress); 5] = [
        ("tick", |lease| lease.tick()),
        ("tick of a handle", |lease| lease.handle().tick()),
        ("extension", |lease| assert!(lease.extend(TTL).wait().is_ok())),
        ("checkpoint", |lease| assert!(lease.checkpoint("here").wait().is_ok())),
        ("bytes", |lease| assert!(lease.checkpoint_bytes(b"here").wait().is_ok())),
    ];
    for (form, progress) in forms {
        let (engine, clock) = still();
        let lease = acquire(&engine, "key").keep_alive_while_progressing(STALL);
        for _ in 0..20 {
            progress(&lease);
            renewed_after(&engine, &clock, TTL / 3);
            assert!(!lease.is_lost(), "{form}");
        }
        until_lost(&clock, &lease);
    }
}

#[test]
fn renewal_continues_if_the_work_makes_progress_again_before_the_end_of_its_lease() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive_while_progressing(STALL);
    renewed_after(&engine, &clock, TTL / 3);
    // The lease ends 60 s after that renewal, and there is none at 40 s.
    clock.advance(TTL / 2);
    // The engine probably notices the stall meanwhile. The test holds in any case.
    std::thread::park_timeout(Duration::from_millis(50));
    lease.tick();
    renewed_after(&engine, &clock, TTL / 12);
    clock.advance(TTL / 2);
    assert!(!lease.is_lost());
    lease.complete("done").wait().unwrap();
}

/// A process that was alive but hung kept its lease for as long as it lived.
#[test]
fn work_of_once_that_hangs_loses_its_lease_and_the_next_caller_takes_over() {
    let (engine, clock) = still();
    let hangs = engine.once("key").ttl(TTL).stall_after(STALL).run_async(async |_| {
        future::pending::<()>().await;
        Ok::<_, Message>(())
    });
    let ticks = async {
        loop {
            clock.advance(SECOND);
            std::thread::park_timeout(Duration::from_micros(200));
            future::yield_now().await;
        }
    };
    let lost = future::block_on(future::or(hangs, ticks));
    assert!(matches!(lost, Err(OnceError::Lost(None))), "{lost:?}");
    clock.advance(TTL);
    let next = engine.once("key").run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    assert_eq!(next.into_value(), 2);
}

#[test]
fn keep_alive_alone_does_not_depend_on_progress() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive();
    for _ in 0..20 {
        renewed_after(&engine, &clock, TTL / 3);
        assert!(!lease.is_lost());
    }
}

/// The second call had no effect: a lease that was kept alive before stayed so although its work
/// hung.
#[test]
fn the_last_call_decides_whether_renewal_depends_on_progress() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive().keep_alive_while_progressing(STALL);
    renewed_after(&engine, &clock, TTL / 3);
    until_lost(&clock, &lease);

    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive_while_progressing(STALL).keep_alive();
    for _ in 0..20 {
        renewed_after(&engine, &clock, TTL / 3);
        assert!(!lease.is_lost());
    }
}

/// A stalled lease was looked at every twelfth of its ttl, and progress after the last look came
/// too late.
#[test]
fn progress_shortly_before_the_end_of_a_stalled_lease_keeps_it() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key").keep_alive_while_progressing(STALL);
    renewed_after(&engine, &clock, TTL / 3);
    // The lease is lost at 79 s.
    for _ in 20..75 {
        clock.advance(SECOND);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    lease.tick();
    renewed_after(&engine, &clock, 3 * SECOND);
    assert!(!lease.is_lost());
}
