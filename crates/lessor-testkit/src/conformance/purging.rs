//! The removal of records whose retention has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::CasResult;
use lessor_core::{Key, Record};

use super::Factory;
use super::tools::*;

fn numbered(prefix: &str, count: usize) -> Vec<Key> {
    (0..count).map(|number| key(&format!("{prefix}{number}"))).collect()
}

/// Records whose retention has ended are removed.
pub fn purge_removes_due_records(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let over = numbered("over", 30);
    for key in &over {
        put(store, key, &due(subject.now()));
    }
    purge_all(store);
    for key in &over {
        assert_eq!(load(store, key).record, None, "{key} was kept");
    }
    assert_eq!(list(store, "", 10), []);
    assert_eq!(store.purge(10).wait().expect("the store can be purged").dropped, 0);
}

/// Records whose retention has not ended are kept: live, lapsed, finished and released ones.
pub fn purge_keeps_records_that_are_not_due(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let now = subject.now();
    let lapsed = granted(now.saturating_sub(Duration::from_secs(60)), Duration::from_secs(1)).0;
    let kept: Vec<Record> = variety(now, b"result")
        .into_iter()
        .chain([lapsed, released(now, LONG)])
        .filter(|record| record.purge_at() > now.saturating_add(Duration::from_secs(60)))
        .collect();
    assert!(kept.len() > 5);
    for (record, key) in kept.iter().zip(numbered("kept", kept.len())) {
        put(store, &key, record);
    }
    for key in numbered("over", 20) {
        put(store, &key, &due(now));
    }
    purge_all(store);
    for (record, key) in kept.iter().zip(numbered("kept", kept.len())) {
        assert_eq!(load(store, &key).record.as_ref(), Some(record), "{record:?} was dropped");
    }
}

/// A record is kept until its [`purge_at`](Record::purge_at), to the microsecond.
///
/// The record is old, because a store may keep records with tokens younger than an hour longer.
pub fn purge_removes_a_record_exactly_at_its_purge_time(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("purge_removes_a_record_exactly_at_its_purge_time") else { return };
    let store = &**subject.store();
    let hour = Duration::from_secs(3600);
    let record = released(subject.now().saturating_sub(hour), hour + SHORT);
    put(store, &key("k"), &record);
    clock.set(record.purge_at().saturating_sub(Duration::from_micros(1)));
    assert_eq!(store.purge(10).wait().expect("the store can be purged").dropped, 0);
    assert_eq!(load(store, &key("k")).record.as_ref(), Some(&record));
    clock.set(record.purge_at());
    assert_eq!(store.purge(10).wait().expect("the store can be purged").dropped, 1);
    assert_eq!(load(store, &key("k")).record, None);
}

/// A grant that was decided with a clock reading from before a purge has a token above all purged
/// ones, or is rejected.
///
/// A caller reads the clock and is suspended. Others acquire the key, complete it, and the record
/// is purged. Then the caller's grant arrives, expects no record, and has a lower token than the
/// purged one.
pub fn p2_a_delayed_grant_gets_no_token_below_a_purged_one(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let past = subject.now().saturating_sub(Duration::from_secs(3600));
    let stale = granted(past, LONG).0;
    let over = released(past.saturating_add(Duration::from_secs(1)), Duration::from_secs(1));
    put(store, &key("k"), &over);
    purge_all(store);
    assert_eq!(load(store, &key("k")).record, None);
    let refused = swap(store, &key("k"), change(None, &stale));
    assert!(matches!(refused, CasResult::Rejected(_)), "P2: {refused:?}");
    assert_eq!(load(store, &key("k")).record, None);
    put(store, &key("k"), &some(subject.now()));
}

/// One call removes at most `limit` records, and returns their number.
///
/// A store may also remove records whose retention has ended on its own.
pub fn purge_removes_at_most_its_limit(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for key in numbered("over", 10) {
        put(store, &key, &due(subject.now()));
    }
    let mut dropped = 0;
    for _ in 0..10 {
        let now = store.purge(3).wait().expect("the store can be purged").dropped;
        assert!(now <= 3, "{now} records were removed with a limit of 3");
        dropped += now;
        let left = list(store, "", 100).len();
        assert!(
            left + dropped <= 10,
            "{dropped} records were reported as removed, but {left} of 10 are left"
        );
    }
    assert_eq!(list(store, "", 100), []);
}

/// A record whose token is ahead of the clock is kept even if its retention has ended, because the
/// next token must be higher.
pub fn p2_purge_keeps_a_token_that_is_ahead_of_the_clock(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let now = subject.now();
    let ahead = now.saturating_add(LONG);
    let floor = forgotten(ahead, now.saturating_sub(LONG));
    assert!(floor.purge_at() > ahead);
    put(store, &key("floor"), &floor);
    put(store, &key("over"), &due(now));
    purge_all(store);
    assert_eq!(
        load(store, &key("floor")).record.as_ref(),
        Some(&floor),
        "the record with the highest token was purged"
    );
    let lease = take(subject.engine().acquire("floor"));
    assert!(lease.token() > floor.token(), "token {} after {}", lease.token(), floor.token());
}

/// A record that is written again while a purge runs is kept.
pub fn purge_keeps_records_that_are_written_meanwhile(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let now = subject.now();
    let keys = numbered("k", 64);
    for round in 0..50 {
        // The tokens are above those of earlier rounds, as those of grants are.
        let due = due(now.saturating_add(Duration::from_micros(round)));
        for key in &keys {
            let old = load(store, key).record;
            let answer = swap_in(store, key, old.as_ref(), &due);
            // The record may have been purged between the two calls.
            assert!(matches!(answer, CasResult::Written | CasResult::Conflict(_)));
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let _ = store.purge(8).wait();
                }
            });
            let written: Vec<(&Key, Record)> = keys
                .iter()
                .filter_map(|key| {
                    let old = load(store, key).record;
                    let fresh = some(now);
                    let answer = swap(store, key, change(old.as_ref(), &fresh));
                    matches!(answer, CasResult::Written).then_some((key, fresh))
                })
                .collect();
            let lost = written.iter().find(|(key, fresh)| load(store, key).record.as_ref() != Some(fresh));
            done.store(true, Ordering::SeqCst);
            assert!(lost.is_none(), "a record that was written again was purged: {lost:?}");
        });
    }
}

/// Nothing that an engine returns depends on whether a purge has run.
pub fn p9_purge_is_invisible_to_readers(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine_with(|settings| settings.limits.retention = SHORT);
    for name in ["done", "failed", "back", "forgotten", "dropped"] {
        let lease = take(engine.acquire(name).ttl(LONG));
        match name {
            "done" => lease.complete(&1).wait().map(drop),
            "failed" => lease.fail("code").wait().map(drop),
            "back" => lease.release().wait().map(drop),
            "forgotten" => engine.forget_forced(name).wait().map(drop),
            _ => lease.abandon().wait().map(drop),
        }
        .expect("it can be done");
    }
    let _held = take(engine.acquire("held").ttl(LONG));
    subject.advance(OUTLIVE * 3);
    let look = || {
        let listing = engine.list().limit(100).wait().expect("the keys can be listed");
        listing
            .entries
            .iter()
            .map(|(key, view)| (key.clone(), view.state(), view.version()))
            .collect::<Vec<_>>()
    };
    let before = look();
    assert_eq!(before.len(), 1, "retention has ended for all but the one that is held: {before:?}");
    purge_all(&**subject.store());
    assert_eq!(look(), before);
    for name in ["done", "failed", "back", "forgotten", "dropped"] {
        let lease = take(engine.acquire(name));
        assert_eq!((lease.attempt(), status(&engine, name).version().as_u64()), (1, 1), "{name}");
    }
}
