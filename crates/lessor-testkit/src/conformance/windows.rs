//! Writes with a time window.

use std::time::Duration;

use lessor_core::Timestamp;
use lessor_core::store::{CasResult, ConditionalWrite};

use super::Factory;
use super::tools::*;

fn between(
    mut change: ConditionalWrite<'_>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
) -> ConditionalWrite<'_> {
    change.not_before = not_before;
    change.not_after = not_after;
    change
}

/// A write is stored just before its `not_after`, and rejected from then on.
pub fn a_write_is_rejected_from_its_not_after_on(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("a_write_is_rejected_from_its_not_after_on") else { return };
    let store = &**subject.store();
    let next = some(subject.now());
    let end = subject.now().saturating_add(SHORT);
    clock.set(end.saturating_sub(Duration::from_micros(1)));
    assert!(matches!(
        swap(store, &key("before"), between(change(None, &next), None, Some(end))),
        CasResult::Written
    ));
    clock.set(end);
    out_of_window(swap(store, &key("at"), between(change(None, &next), None, Some(end))));
    clock.advance(Duration::from_micros(1));
    out_of_window(swap(store, &key("after"), between(change(None, &next), None, Some(end))));
}

/// A write is rejected just before its `not_before`, and stored from then on.
pub fn a_write_is_rejected_before_its_not_before(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("a_write_is_rejected_before_its_not_before") else { return };
    let store = &**subject.store();
    let next = some(subject.now());
    let begin = subject.now().saturating_add(SHORT);
    clock.set(begin.saturating_sub(Duration::from_micros(1)));
    out_of_window(swap(store, &key("k"), between(change(None, &next), Some(begin), None)));
    clock.set(begin);
    assert!(matches!(
        swap(store, &key("k"), between(change(None, &next), Some(begin), None)),
        CasResult::Written
    ));
}

/// A write that is rejected because of its window changes nothing.
pub fn a_write_outside_of_its_window_changes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (record, holder) = granted(now, LONG);
    let next = changed(&record, holder, now);
    let (past, future) = (now.saturating_sub(LONG), now.saturating_add(LONG));
    out_of_window(swap(store, &key, between(change(None, &record), None, Some(past))));
    out_of_window(swap(store, &key, between(change(None, &record), Some(future), None)));
    assert_eq!(load(store, &key).record, None);
    put(store, &key, &record);
    out_of_window(swap(store, &key, between(change(Some(&record), &next), None, Some(past))));
    out_of_window(swap(store, &key, between(change(Some(&record), &next), Some(future), None)));
    assert_eq!(load(store, &key).record, Some(record));
}

/// A write is stored while its window is open.
pub fn a_write_within_its_window_is_stored(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (record, holder) = granted(now, LONG);
    let next = changed(&record, holder, now);
    let (past, future) = (Some(now.saturating_sub(LONG)), Some(now.saturating_add(LONG)));
    assert!(matches!(swap(store, &key, between(change(None, &record), past, future)), CasResult::Written));
    assert!(matches!(
        swap(store, &key, between(change(Some(&record), &next), past, future)),
        CasResult::Written
    ));
    assert_eq!(load(store, &key).record, Some(next));
}

/// The window applies to the time of the write, not to the time at which the write was decided.
pub fn the_window_applies_to_the_time_of_the_write(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let record = some(now);
    let opens = between(change(None, &record), Some(now.saturating_add(SHORT)), None);
    let closes = between(change(None, &record), None, Some(now.saturating_add(SHORT)));
    subject.advance(OUTLIVE);
    out_of_window(swap(store, &key, closes));
    assert!(matches!(swap(store, &key, opens), CasResult::Written));
}

/// A write that violates both the expected record and the window conflicts.
pub fn a_conflict_takes_precedence_over_the_window(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let record = some(now);
    put(store, &key, &record);
    let next = some(now);
    let late = between(change(None, &next), None, Some(now.saturating_sub(LONG)));
    assert_eq!(conflict(swap(store, &key, late)).record, Some(record));
}

/// A rejection because of the window returns the current record and a time outside of the window.
pub fn a_rejection_returns_the_record_and_the_time(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (record, holder) = granted(now, LONG);
    put(store, &key, &record);
    let end = now.saturating_add(SHORT);
    subject.advance(OUTLIVE);
    let next = changed(&record, holder, now);
    let late = between(change(Some(&record), &next), None, Some(end));
    let seen = out_of_window(swap(store, &key, late));
    assert_eq!(seen.record, Some(record.clone()));
    assert!(!late.in_window(seen.now), "the returned time {:?} is within the window", seen.now);
}
