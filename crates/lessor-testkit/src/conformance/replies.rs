//! Glances, and replies that nobody waits for.

use std::sync::Arc;
use std::thread;

use lessor_core::StoreError;
use lessor_core::store::Swap;

use super::Factory;
use super::tools::*;

/// Where a store can show a record without waiting, it is the one that `load` shows.
pub fn glance_agrees_with_load(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    for record in variety(subject.now(), b"result") {
        let before = load(store, &key).record;
        let mut glanced = None;
        if store.glance(&key, &mut |found| glanced = Some(found.map(|(record, _)| record.clone()))) {
            assert_eq!(glanced, Some(before.clone()));
        }
        swap(store, &key, change(before.as_ref(), &record));
        let mut glanced = None;
        if store.glance(&key, &mut |found| glanced = Some(found.map(|(record, _)| record.clone()))) {
            assert_eq!(glanced, Some(Some(record)), "a glance shows something else than was stored");
        }
    }
}

/// A glance shows the record once and says so, or shows nothing.
pub fn glance_looks_once_or_not_at_all(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    put(store, &key("there"), &some(subject.now()));
    for name in ["there", "absent"] {
        let mut looks = 0;
        let shown = store.glance(name, &mut |_| looks += 1);
        assert_eq!(looks, u32::from(shown), "{name}");
    }
}

/// Whoever drops a reply leaves the old record or the new one, and the key can be written as ever.
pub fn a_dropped_reply_leaves_all_or_nothing(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (mut record, holder) = granted(now, LONG);
    put(store, &key, &record);
    for _ in 0..100 {
        let next = changed(&record, holder, now);
        drop(store.swap(&key, &change(Some(&record), &next)));
        drop(store.load(&key));
        // The write that nobody waited for may still land between these two.
        for _ in 0..2 {
            let found = load(store, &key).record.expect("it is there");
            assert!(found == record || found == next, "neither the old record nor the new one");
            record = found.clone();
            if found == next {
                break;
            }
        }
        if record != next {
            match swap(store, &key, change(Some(&record), &next)) {
                Swap::Stored => record = next,
                Swap::Conflict(seen) => record = seen.record.expect("it is there"),
                Swap::Stamped(_) | Swap::OutOfWindow(_) => {
                    unreachable!("the change depends on no clock")
                }
            }
        }
    }
}

/// A reply does not belong to the thread that asked.
pub fn replies_may_be_awaited_on_another_thread(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (Arc::clone(subject.store()), key("k"));
    let record = some(subject.now());
    let swap = store.swap(&key, &change(None, &record));
    let swapped = thread::spawn(move || swap.wait()).join().expect("a waiting thread");
    assert!(matches!(swapped, Ok(Swap::Stored)), "{swapped:?}");
    let load = store.load(&key);
    let seen = thread::spawn(move || load.wait()).join().expect("a waiting thread");
    assert_eq!(seen.expect("the store can be read").record, Some(record));
}

/// Where a store answers that nothing happened, nothing did.
pub fn an_error_that_says_nothing_happened_is_right(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for number in 0..200 {
        let key = key(&format!("k{number}"));
        let answer = store.swap(&key, &change(None, &some(subject.now()))).wait();
        if let Err(
            StoreError::Unavailable { .. } | StoreError::Misconfigured { .. } | StoreError::Full { .. },
        ) = answer
        {
            eventually("the store can be read again", || store.load(&key).wait().is_ok());
            let found = load(store, &key).record;
            assert_eq!(found, None, "the store answered that nothing was changed");
        }
    }
}
