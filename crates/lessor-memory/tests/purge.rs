//! The in-memory store's size stays bounded with any number of keys that are used once.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::Purged;
use lessor_core::{Acquisition, Clock, Engine, Settings, Store, Timestamp};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

/// Returns the number of keys that are used once: the environment variable `LESSOR_KEYS`, by
/// default 200,000.
fn keys() -> u64 {
    let text = std::env::var("LESSOR_KEYS").unwrap_or_default();
    text.replace('_', "").parse().unwrap_or(200_000)
}

/// The time that passes per key, and the retention. Together they determine the number of records
/// that are retained.
const PER_KEY: Duration = Duration::from_millis(1);
const RETENTION: Duration = Duration::from_secs(10);
const KEPT: usize = 10_000;
/// The number of keys between two purges.
const PER_PURGE: u64 = 5_000;

#[test]
fn p9_memory_stays_bounded_under_one_off_keys() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    // The test purges explicitly, at known times.
    settings.schedule.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
    let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
    let bound = KEPT + usize::try_from(PER_PURGE).unwrap() + 1;
    let (mut most, mut dropped) = (0, 0);
    for number in 0..keys() {
        let Acquisition::Acquired(lease) = engine.acquire(&format!("one-off:{number}")).wait().unwrap()
        else {
            panic!("a fresh key was not granted");
        };
        match number % 4 {
            0 => drop(lease.fail("code").wait().unwrap()),
            1 => drop(lease.release().wait().unwrap()),
            2 => {
                lease.complete(&number).wait().unwrap();
                engine.forget(lease.key()).wait().unwrap();
            }
            _ => drop(lease.complete(&number).wait().unwrap()),
        }
        clock.advance(PER_KEY);
        if number % PER_PURGE == PER_PURGE - 1 {
            dropped += engine.purge(usize::MAX).wait().unwrap();
        }
        most = most.max(store.len());
        assert!(most <= bound, "{most} records at key {number}, more than {bound}");
    }
    println!("{} keys, at most {most} records at a time, {dropped} purged", keys());
    clock.advance(RETENTION);
    while engine.purge(1000).wait().unwrap() > 0 {}
    assert!(store.is_empty(), "{} records are left", store.len());
}

/// Regression test: rarely, an engine never purged. Its background thread had started before the
/// engine was complete, assumed that it was dropped already, and ended. The test creates many
/// engines because the failure is rare.
#[test]
fn every_engine_purges_periodically() {
    for _ in 0..300 {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let mut settings = Settings::default();
        settings.limits.retention = RETENTION;
        settings.schedule.purge_every = Duration::from_secs(60);
        let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
        for number in 0..10 {
            let answer = engine.acquire(&format!("one-off:{number}")).wait().unwrap();
            let Acquisition::Acquired(lease) = answer else { panic!("a fresh key was not granted") };
            lease.complete(&number).wait().unwrap();
        }
        assert_eq!(store.len(), 10);
        // The deadline is generous, because the purge runs in the background.
        let mut steps = 0;
        while !store.is_empty() {
            assert!(steps < 10_000, "{} records were never purged", store.len());
            steps += 1;
            clock.advance(Duration::from_secs(61));
            pause();
        }
    }
}

#[test]
fn p9_a_forgotten_record_is_dropped_at_once() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(clock.driving(store.clone())).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire("key").wait().unwrap() else {
        panic!("a fresh key was not granted");
    };
    lease.complete("done").wait().unwrap();
    clock.advance(Duration::from_micros(1));
    engine.forget("key").wait().unwrap();
    assert!(store.is_empty());
}

/// A token is the time of its grant, unless the same key had that token already. A record that was
/// forgotten within the microsecond of its grant does not change that for other keys.
#[test]
fn p2_a_forgotten_record_does_not_raise_the_tokens_of_other_keys() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(clock.driving(store.clone())).unwrap();
    let token = |key: &str| {
        let answer = engine.acquire(key).wait().unwrap();
        let Acquisition::Acquired(lease) = answer else { panic!("{key} was not granted") };
        lease.complete("done").wait().unwrap();
        lease.token().as_u64()
    };
    let now = clock.now().as_micros();
    assert_eq!(token("key"), now);
    engine.forget("key").wait().unwrap();
    for number in 0..1_000 {
        assert_eq!(token(&format!("key:{number}")), now);
    }
    assert_eq!(token("key"), now + 1);
}

/// The lease would have lasted an hour, but the record is retained for ten seconds.
#[test]
fn p9_a_record_that_ends_before_its_lease_is_purged_at_its_time() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
    let answer = engine.acquire("key").ttl(Duration::from_secs(3600)).wait().unwrap();
    let Acquisition::Acquired(lease) = answer else { panic!("a fresh key was not granted") };
    lease.complete("done").wait().unwrap();
    clock.advance(RETENTION);
    assert_eq!(store.purge(10).wait().unwrap(), Purged::new(1, false));
    assert!(store.is_empty());
}

/// A purge reports that more records are due only if there are some, so that the engine's purging
/// pauses.
#[test]
fn p9_a_purge_ends_when_nothing_is_due() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
    for number in 0..10_000 {
        let answer = engine.acquire(&format!("key:{number}")).wait().unwrap();
        let Acquisition::Acquired(lease) = answer else { panic!("a fresh key was not granted") };
        if number % 2 == 0 {
            lease.complete("done").wait().unwrap();
        } else {
            // Its purge time is later than at the grant.
            lease.extend(Duration::from_secs(7200)).wait().unwrap();
            std::mem::forget(lease);
        }
    }
    clock.advance(RETENTION);
    let (mut calls, mut dropped) = (0, 0);
    loop {
        let purged = store.purge(100).wait().unwrap();
        assert!(purged.dropped <= 100);
        calls += 1;
        dropped += purged.dropped;
        if !purged.more {
            break;
        }
        assert!(calls < 1_000, "the purge does not end");
    }
    println!("{dropped} of 10,000 records were dropped by {calls} calls");
    assert_eq!(store.purge(100).wait().unwrap(), Purged::default());
}

#[test]
fn p9_a_record_whose_lease_was_extended_is_purged_at_its_time() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
    let ttl = Duration::from_secs(60);
    let Acquisition::Acquired(lease) = engine.acquire("key").ttl(ttl).wait().unwrap() else {
        panic!("a fresh key was not granted");
    };
    for _ in 0..100 {
        clock.advance(ttl / 2);
        lease.extend(ttl).wait().unwrap();
    }
    lease.complete("done").wait().unwrap();
    clock.advance(RETENTION - Duration::from_secs(1));
    assert_eq!(engine.purge(10).wait().unwrap(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(engine.purge(10).wait().unwrap(), 1);
    assert!(store.is_empty());
}

#[test]
fn purge_drops_no_more_than_its_limit_and_keeps_the_rest_readable() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    let store = Arc::new(store);
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    let engine = Engine::with_settings(clock.driving(store.clone()), settings).unwrap();
    for number in 0..50 {
        let Acquisition::Acquired(lease) = engine.acquire(&format!("k{number}")).wait().unwrap() else {
            panic!("a fresh key was not granted");
        };
        lease.complete(&number).wait().unwrap();
    }
    clock.advance(RETENTION);
    assert_eq!(store.purge(20).wait().unwrap().dropped, 20);
    assert_eq!(store.len(), 30);
}

/// At the latest timestamp each chunk may be due, with or without records.
#[test]
fn p12_a_purge_at_the_end_of_time_ends() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let engine = Engine::new(clock.driving(store.clone())).unwrap();
    for number in 0..1_000 {
        let answer = engine.acquire(&format!("key:{number}")).wait().unwrap();
        let Acquisition::Acquired(lease) = answer else { panic!("a fresh key was not granted") };
        lease.complete("done").wait().unwrap();
    }
    clock.set(Timestamp::MAX);
    let mut calls = 0;
    while store.purge(100).wait().unwrap().more {
        calls += 1;
        assert!(calls < 1_000, "the purge does not end");
    }
    assert!(store.is_empty());
}

#[expect(clippy::disallowed_methods, reason = "another thread is given time to work")]
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}
