//! Edits in place, of stores that offer them.

use lessor_core::store::Spot;
use lessor_core::{Key, Record, Store};

use super::Factory;
use super::tools::*;

/// Stores `next` whatever is there. False if the store shows no records in place.
fn replace(store: &dyn Store, key: &Key, next: &Record) -> bool {
    store.edit(key, &mut |spot| put_at(spot, next))
}

fn put_at(spot: &mut Spot<'_>, next: &Record) {
    match &mut spot.record {
        Some(record) => **record = next.clone(),
        None => spot.put = Some(next.clone()),
    }
}

/// What an edit is shown is what `load` shows, and so is what it leaves.
pub fn edit_agrees_with_load(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    for next in variety(subject.now(), b"result") {
        let before = load(store, &key).record;
        let mut shown = None;
        if !store.edit(&key, &mut |spot| shown = Some(spot.record.as_deref().cloned())) {
            return;
        }
        assert_eq!(shown, Some(before.clone()));
        assert_eq!(load(store, &key).record, before, "an edit that changes nothing has changed something");
        assert!(replace(store, &key, &next));
        assert_eq!(load(store, &key).record, Some(next.clone()));
        assert_eq!(list(store, "", 10), [(key.clone(), next)]);
    }
}

/// An edit runs once and says so, or does not run.
pub fn edit_runs_once_or_not_at_all(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    put(store, &key("there"), &some(subject.now()));
    for name in ["there", "absent"] {
        let mut runs = 0;
        let ran = store.edit(&key(name), &mut |_| runs += 1);
        assert_eq!(runs, u32::from(ran), "{name}");
    }
}

/// Who has read a record keeps what was read.
pub fn an_edit_changes_nothing_that_was_read(factory: Factory<'_>) {
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

/// Edits and swaps of one key exclude each other: the version counts all of them.
pub fn no_edit_is_lost(factory: Factory<'_>) {
    const EACH: u64 = 200;
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (first, holder) = granted(now, LONG);
    put(store, &key, &first);
    let extend = |racer: usize| {
        for _ in 0..EACH {
            let edit = &mut |spot: &mut Spot<'_>| {
                let next = spot.record.as_deref().map(|record| changed(record, holder, now));
                put_at(spot, &next.expect("it is there"));
            };
            if racer.is_multiple_of(2) && store.edit(&key, edit) {
                continue;
            }
            let mut known = load(store, &key).record.expect("it is there");
            while let lessor_core::store::Swap::Conflict(seen) =
                swap(store, &key, change(Some(&known), &changed(&known, holder, now)))
            {
                known = seen.record.expect("it is there");
            }
        }
    };
    race(RACERS, extend);
    let last = load(store, &key).record.expect("it is there");
    assert_eq!(last.version().as_u64(), 1 + EACH * RACERS as u64, "a change was lost");
}

/// A purge judges a record by what an edit made of it.
pub fn purge_judges_what_an_edit_left(factory: Factory<'_>) {
    let subject = factory();
    let (store, now) = (&**subject.store(), subject.now());
    let (due_now, kept) = (due(now), some(now));
    put(store, &key("shortened"), &kept);
    put(store, &key("prolonged"), &due_now);
    if !replace(store, &key("shortened"), &due_now) || !replace(store, &key("prolonged"), &kept) {
        return;
    }
    purge_all(store);
    assert_eq!(stored(store, "shortened"), None);
    assert_eq!(stored(store, "prolonged"), Some(kept));
}

/// An edit is told how high the tokens were that were dropped.
pub fn p2_an_edit_is_told_of_purged_tokens(factory: Factory<'_>) {
    let subject = factory();
    let (store, record) = (&**subject.store(), due(subject.now()));
    put(store, &key("k"), &record);
    purge_all(store);
    assert_eq!(stored(store, "k"), None);
    let mut purged = None;
    if store.edit(&key("k"), &mut |spot| purged = spot.purged) {
        assert!(purged >= Some(record.token()), "{purged:?} is told, but {} was dropped", record.token());
    }
}

/// An edit is given the clock that changes are compared with.
pub fn p7_an_edit_is_given_the_stores_clock(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let earliest = load(store, &key("k")).now;
    let mut told = None;
    if store.edit(&key("k"), &mut |spot| told = Some(spot.clock.now())) {
        let latest = load(store, &key("k")).now;
        assert!(told.is_some_and(|now| (earliest..=latest).contains(&now)), "{told:?}");
    }
}
