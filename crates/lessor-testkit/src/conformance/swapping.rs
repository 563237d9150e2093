//! Reads return what was written, and swaps replace only the expected record.

use super::Factory;
use super::tools::*;

/// `load` returns the record that a swap stored.
pub fn load_returns_the_stored_record(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let record = some(subject.now());
    put(store, &key, &record);
    assert_eq!(load(store, &key).record, Some(record));
}

/// A key that was never written has no record.
pub fn a_key_never_written_has_no_record(factory: Factory<'_>) {
    let subject = factory();
    assert_eq!(stored(&**subject.store(), "k"), None);
}

/// A swap that expects no record conflicts with an existing one.
pub fn a_swap_that_expects_no_record_conflicts_with_a_record(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let (first, second) = (some(subject.now()), some(subject.now()));
    put(store, &key, &first);
    assert_eq!(conflict(swap(store, &key, change(None, &second))).record, Some(first.clone()));
    assert_eq!(load(store, &key).record, Some(first));
}

/// A swap that expects a record conflicts if there is none.
pub fn a_swap_that_expects_a_record_conflicts_with_none(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let (first, second) = (some(subject.now()), some(subject.now()));
    assert_eq!(conflict(swap(store, &key, change(Some(&first), &second))).record, None);
    assert_eq!(load(store, &key).record, None);
}

/// A swap that expects an earlier version of the record conflicts.
pub fn swap_compares_the_version(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (first, holder) = granted(now, LONG);
    let second = changed(&first, holder, now);
    let third = changed(&second, holder, now);
    put(store, &key, &first);
    assert!(matches!(
        swap(store, &key, change(Some(&first), &second)),
        lessor_core::store::CasResult::Written
    ));
    assert_eq!(conflict(swap(store, &key, change(Some(&first), &third))).record, Some(second.clone()));
    assert_eq!(load(store, &key).record, Some(second));
}

/// A swap that expects another grant with the same version conflicts.
pub fn swap_compares_the_token(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (ours, holder) = granted(now.saturating_add(SHORT), LONG);
    let theirs = some(now);
    assert_eq!(ours.version(), theirs.version());
    put(store, &key, &theirs);
    let next = changed(&ours, holder, now);
    assert_eq!(conflict(swap(store, &key, change(Some(&ours), &next))).record, Some(theirs.clone()));
    assert_eq!(load(store, &key).record, Some(theirs));
}

/// A conflict returns the stored record, and neither the expected nor the new one.
pub fn a_conflict_returns_the_current_record_and_changes_nothing(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    for record in variety(subject.now(), b"result") {
        let current = load(store, &key).record;
        let stranger = some(subject.now().saturating_add(LONG));
        let seen = conflict(swap(store, &key, change(Some(&stranger), &some(subject.now()))));
        assert_eq!(seen.record, current);
        let answer = swap(store, &key, change(current.as_ref(), &record));
        assert!(matches!(answer, lessor_core::store::CasResult::Written), "{answer:?}");
    }
}

/// Each swap that expects the record of the previous one is stored.
pub fn consecutive_swaps_are_stored(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (mut record, holder) = granted(now, LONG);
    put(store, &key, &record);
    for _ in 0..100 {
        let next = changed(&record, holder, now);
        let answer = swap(store, &key, change(Some(&record), &next));
        assert!(matches!(answer, lessor_core::store::CasResult::Written), "{answer:?}");
        assert_eq!(load(store, &key).record.as_ref(), Some(&next));
        record = next;
    }
}

/// A write under one key changes no other key.
pub fn a_write_changes_no_other_key(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let all: Vec<_> = (0..100).map(|n| (key(&format!("k{n}")), granted(subject.now(), LONG))).collect();
    for (key, (record, _)) in &all {
        put(store, key, record);
    }
    for (key, (record, holder)) in all.iter().step_by(2) {
        swap(store, key, change(Some(record), &changed(record, *holder, subject.now())));
    }
    for (number, (key, (record, _))) in all.iter().enumerate() {
        let found = load(store, key).record.expect("it was stored");
        assert_eq!(&found == record, number % 2 == 1, "{key}");
        assert_eq!(found.token(), record.token(), "{key}");
    }
}

/// Records of every kind are returned unchanged, byte for byte.
pub fn records_are_returned_byte_for_byte(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let result: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    for (number, record) in variety(subject.now(), &result).iter().enumerate() {
        let key = key(&format!("kind {number}"));
        put(store, &key, record);
        let found = load(store, &key).record.expect("it was stored");
        assert_eq!(found.encode(), record.encode(), "{record:?}");
        assert!(found.same_write(record));
    }
}

/// A result of 1 MiB is returned unchanged by `load`, in a conflict, and by `scan`.
pub fn a_result_of_a_mebibyte_is_returned_unchanged(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("large"));
    let mut noise = 1_u32;
    let result: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    })
    .take(1 << 20)
    .collect();
    let all = variety(subject.now(), &result);
    let large = all.iter().max_by_key(|record| record.encode().len()).expect("there are records");
    assert!(large.encode().len() > 1 << 20);
    put(store, &key, large);
    let encoded = large.encode();
    let same = |record: Option<&lessor_core::Record>| record.is_some_and(|found| found.encode() == encoded);
    assert!(same(load(store, &key).record.as_ref()));
    assert!(same(conflict(swap(store, &key, change(None, large))).record.as_ref()));
    assert!(same(list(store, "", 10).first().map(|(_, record)| record)));
}
