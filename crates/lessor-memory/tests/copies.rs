//! A thread that reads a key repeatedly answers from its own copy of the record, without a lock.
//! The copy must be as new as the request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Lease, State, SystemClock, Timestamp, View};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const TTL: Duration = Duration::from_secs(60);

fn acquire(engine: &Engine, key: &str) -> Acquisition {
    engine.acquire(key).ttl(TTL).wait().unwrap()
}

fn granted(engine: &Engine, key: &str) -> Lease {
    match acquire(engine, key) {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{key} was not granted: {other:?}"),
    }
}

fn shown(engine: &Engine, key: &str) -> View {
    match acquire(engine, key) {
        Acquisition::InProgress(view) | Acquisition::Completed(view) | Acquisition::Failed(view) => view,
        other => panic!("{key}: {other:?}"),
    }
}

/// Reads a key often enough that the thread has a copy.
fn read(engine: &Engine, key: &str) -> View {
    let views = [(); 4].map(|()| shown(engine, key));
    let [.., last] = views;
    last
}

/// Each change of a record is visible to the next request of a thread with a copy of the record.
#[test]
fn rule_11_a_copy_of_a_changed_record_is_not_used() {
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let lease = granted(&engine, "key");
    assert_eq!(read(&engine, "key").version().as_u64(), 1);
    let _ = lease.extend(2 * TTL).wait().unwrap();
    let view = read(&engine, "key");
    assert_eq!(view.version().as_u64(), 2);
    assert!(view.ttl_left().unwrap() > TTL);
    let _ = lease.complete("paid").wait().unwrap();
    assert_eq!(read(&engine, "key").result::<String>().unwrap(), "paid");
    assert!(engine.forget("key").wait().unwrap());
    let lease = granted(&engine, "key");
    assert_eq!(read(&engine, "key").state(), State::InProgress);
    let _ = lease.fail("declined").wait().unwrap();
    assert_eq!(read(&engine, "key").error_code(), Some("declined"));
}

/// Two stores have different records under one key.
#[test]
fn a_copy_is_used_for_its_own_store_only() {
    let engines = [(); 8].map(|()| Engine::new(Arc::new(MemoryStore::new())).unwrap());
    for (number, engine) in engines.iter().enumerate() {
        let _ = granted(engine, "key").complete(&number).wait().unwrap();
    }
    for _ in 0..4 {
        for (number, engine) in engines.iter().enumerate() {
            assert_eq!(read(engine, "key").result::<usize>().unwrap(), number);
        }
    }
}

/// There are fewer places for copies than keys, so requests find the copy of another key.
#[test]
fn a_copy_is_used_for_its_own_key_only() {
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let keys: Vec<String> = (0..400).map(|number| format!("key:{number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        let _ = granted(&engine, key).complete(&number).wait().unwrap();
    }
    for round in 0..4 {
        for (number, key) in keys.iter().enumerate() {
            for _ in 0..=round {
                assert_eq!(shown(&engine, key).result::<usize>().unwrap(), number);
            }
        }
    }
}

/// A copy does not bypass the fingerprint of a request.
#[test]
fn rule_8_a_copy_is_not_returned_for_a_request_with_another_fingerprint() {
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let request = |amount: u64| engine.acquire("key").fingerprint(&amount).wait();
    let Acquisition::Acquired(lease) = request(1).unwrap() else { panic!("the key was not granted") };
    let _ = lease.complete("paid").wait().unwrap();
    read(&engine, "key");
    for _ in 0..4 {
        assert!(matches!(request(1), Ok(Acquisition::Completed(_))));
        assert!(matches!(request(2), Err(lessor_core::Error::FingerprintMismatch)));
    }
}

/// A clock whose recent readings are 0.9 seconds old.
#[derive(Debug)]
struct Lagging(ManualClock);

impl Clock for Lagging {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn recent(&self) -> Timestamp {
        self.0.now().saturating_sub(Duration::from_millis(900))
    }
}

/// A lapsed lease is granted to the next caller, even if the store's recent time is old.
#[test]
fn p1_a_recent_time_does_not_prolong_a_lease_or_a_retention() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::with_clock(Arc::new(Lagging(clock.clone()))));
    let engine = Engine::new(store).unwrap();
    let lease = granted(&engine, "key");
    read(&engine, "key");
    clock.advance(TTL - Duration::from_millis(1));
    assert_eq!(read(&engine, "key").ttl_left(), Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    let second = granted(&engine, "key");
    assert!(second.token() > lease.token());
    let _ = second.complete("done").wait().unwrap();
    read(&engine, "key");
    clock.advance(engine.settings().limits.retention - Duration::from_millis(1));
    assert_eq!(read(&engine, "key").state(), State::Completed);
    clock.advance(Duration::from_millis(1));
    drop(granted(&engine, "key"));
}

/// Returns the number of changes: the environment variable `LESSOR_CHANGES`, by default 20,000.
fn changes() -> u64 {
    std::env::var("LESSOR_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// A writer publishes the version that it has written. Readers on other threads must not see an
/// older one afterwards.
#[test]
fn rule_11_readers_on_other_threads_see_what_was_written_before_their_request() {
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let lease = granted(&engine, "key");
    let (published, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let read = std::thread::scope(|threads| {
        let reader = || {
            let mut read = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let before = published.load(Ordering::Acquire);
                let version = shown(&engine, "key").version().as_u64();
                assert!(version >= before, "version {version} was read after {before} was written");
                read += 1;
            }
            read
        };
        let readers = [threads.spawn(reader), threads.spawn(reader), threads.spawn(reader)];
        for number in 0..changes() {
            let ack = lease.extend(TTL).wait().unwrap();
            published.store(ack.version().as_u64(), Ordering::Release);
            if number % 8 == 0 {
                // Gives the readers time to make copies.
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    println!("{} changes, {read} readings", changes());
}

/// Readings of the system's clock by one thread are monotonic, recent and exact ones together.
#[test]
fn p7_recent_and_exact_readings_of_a_thread_are_monotonic() {
    let clock = SystemClock::new();
    let (mut last, mut most) = (Timestamp::EPOCH, Duration::ZERO);
    for _ in 0..200_000 {
        let recent = clock.recent();
        let now = clock.now();
        assert!(recent >= last && recent <= now);
        most = most.max(now.saturating_since(recent));
        last = now;
    }
    println!("at most {most:?} behind");
}

/// A recent time follows the clock.
#[test]
#[expect(clippy::disallowed_methods, reason = "time has to pass")]
fn p7_a_recent_reading_is_not_older_than_a_tick() {
    let clock = SystemClock::new();
    for _ in 0..5 {
        let _ = clock.recent();
        let before = clock.now();
        // A tick takes at most 10 ms.
        std::thread::sleep(Duration::from_millis(25));
        assert!(clock.recent() > before.saturating_add(Duration::from_millis(10)));
    }
}
