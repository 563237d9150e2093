//! Operations, each of which is executed in one atomic step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::rules::{Command, HolderCommand};
use lessor_core::store::{CasResult, Executed, OwnedOperation};
use lessor_core::{Acquisition, Key, LeaseId, Store};

use super::Factory;
use super::tools::*;

/// Extends a lease, with a retention that does not end during the test.
fn extend(store: &dyn Store, key: &Key, holder: LeaseId, ttl: Duration) -> Executed {
    let command = Command::Holder(holder, HolderCommand::Extend { ttl });
    OwnedOperation::new(key.clone(), command, LONG).send(store).wait().expect("the operation succeeds")
}

/// An operation is decided on the record that `load` returns, and `load` returns the record that
/// the operation stored.
pub fn an_operation_and_load_use_the_same_record(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let (record, holder) = granted(subject.now(), LONG);
    put(store, &key, &record);
    for n in 1..10 {
        let before = load(store, &key).record.expect("it is there");
        assert!(extend(store, &key, holder, LONG + Duration::from_secs(n)).is_write());
        let after = load(store, &key).record.expect("it is there");
        assert_eq!(after.version().as_u64(), before.version().as_u64() + 1);
        assert!(after.expires_at() > before.expires_at());
        assert_eq!(list(store, "", 10), [(key.clone(), after)]);
    }
}

/// An answer without a write is based on the current record.
pub fn an_answer_without_a_write_uses_the_current_record(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let acquire = || engine.acquire("k").wait().expect("the store answers");
    for _ in 0..3 {
        let lease = take(engine.acquire("k"));
        assert!(matches!(acquire(), Acquisition::InProgress(_)));
        lease.complete("done").wait().unwrap();
        assert!(matches!(acquire(), Acquisition::Completed(_)));
        engine.forget("k").wait().unwrap();
    }
}

/// A refused operation changes nothing.
pub fn a_refused_operation_changes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    put(store, &key, &some(subject.now()));
    let before = bytes(store, "k");
    assert!(!extend(store, &key, lease_id(), LONG * 2).is_write());
    assert_eq!(bytes(store, "k"), before);
}

/// An operation does not change a record that a caller has read.
pub fn an_operation_does_not_change_records_that_were_read(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k"));
    let before = load(&**subject.store(), &key("k")).record.expect("it was granted");
    let encoded = before.encode();
    lease.complete("done").wait().unwrap();
    assert_eq!(before.encode(), encoded);
    assert_ne!(bytes(&**subject.store(), "k"), Some(encoded));
    assert_eq!(lease.attempt(), 1);
}

/// Operations and swaps of one key exclude each other: the version counts all of them.
pub fn no_operation_is_lost(factory: Factory<'_>) {
    const EACH: u64 = 200;
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (first, holder) = granted(now, LONG);
    put(store, &key, &first);
    let racer = |racer: usize| {
        for n in 0..EACH {
            if racer.is_multiple_of(2) {
                let ttl = LONG + Duration::from_millis(n);
                assert!(extend(store, &key, holder, ttl).is_write());
                continue;
            }
            let mut known = load(store, &key).record.expect("it is there");
            while let CasResult::Conflict(seen) =
                swap(store, &key, change(Some(&known), &changed(&known, holder, now)))
            {
                known = seen.record.expect("it is there");
            }
        }
    };
    race(RACERS, racer);
    let last = load(store, &key).record.expect("it is there");
    assert_eq!(last.version().as_u64(), 1 + EACH * RACERS as u64, "a change was lost");
}

/// A purge decides by the record that an operation has stored, whether the operation shortened or
/// extended its life.
pub fn purge_uses_the_record_that_an_operation_stored(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    // The record has an old token, because a store may keep records with young tokens longer.
    let (record, holder) = granted(subject.now().saturating_sub(LONG), 2 * LONG);
    let shortened = key("shortened");
    put(store, &shortened, &record);
    let release = OwnedOperation::new(shortened, Command::Holder(holder, HolderCommand::Release), SHORT);
    assert!(release.send(store).wait().expect("the operation succeeds").is_write());
    // On a real clock, a short lease may lapse before it is extended, so this is retried.
    let engine = subject.engine_with(|settings| settings.limits.retention = SHORT);
    let prolong = |n: u32| {
        let lease = take(engine.acquire(&format!("prolonged {n}")).ttl(OUTLIVE));
        lease.extend(LONG).wait().ok().map(|_| lease)
    };
    let prolonged = (0..1_000).find_map(prolong).expect("a lease that was extended in time");
    subject.advance(OUTLIVE + SHORT + OUTLIVE);
    // A store that estimates the time needs further readings until the record is due.
    eventually("the released record is purged", || {
        purge_all(store);
        stored(store, "shortened").is_none()
    });
    assert!(stored(store, prolonged.key()).is_some());
}

/// An operation uses the store's clock in its atomic step: a lease that a reader has seen lapse is
/// not extended afterwards.
pub fn p7_an_operation_uses_the_clock_of_its_atomic_step(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("p7_an_operation_uses_the_clock_of_its_atomic_step") else {
        return;
    };
    if subject.has_reads_before_commits() {
        println!(
            "skipped, readers may read before a commit: p7_an_operation_uses_the_clock_of_its_atomic_step"
        );
        return;
    }
    let store = &**subject.store();
    for round in 0..50 {
        let key = key(&format!("k{round}"));
        let (record, holder) = granted(subject.now(), SHORT);
        put(store, &key, &record);
        let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let extender = scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    begun.store(true, Ordering::SeqCst);
                    let _ = extend(store, &key, holder, SHORT);
                }
            });
            // Otherwise the time would often have passed before the thread has started.
            while !begun.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            // Each round lets the time pass at another moment of an extension.
            (0..round).for_each(|_| thread::yield_now());
            clock.advance(SHORT * 2);
            let seen = load(store, &key);
            let before = seen.record.expect("it is there");
            ended.store(true, Ordering::SeqCst);
            extender.join().expect("it ends");
            if seen.now >= before.expires_at() {
                let after = load(store, &key).record.expect("it is there");
                assert_eq!(after, before, "a lease that had lapsed was extended");
            }
        });
    }
}
