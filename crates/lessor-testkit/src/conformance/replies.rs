//! Replies that are dropped or awaited elsewhere, and honest errors.

use std::sync::Arc;
use std::thread;

use lessor_core::StoreError;
use lessor_core::store::CasResult;

use super::Factory;
use super::tools::*;
use crate::retrying;

/// After a dropped reply the old or the new record is stored, and the key can still be written.
pub fn a_write_with_a_dropped_reply_is_complete_or_absent(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (mut record, holder) = granted(now, LONG);
    put(store, &key, &record);
    for _ in 0..100 {
        let next = changed(&record, holder, now);
        drop(retrying::swap(store, &key, &change(Some(&record), &next)));
        drop(store.load(&key));
        // The write without a waiting caller may still take effect between these two.
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
                CasResult::Written => record = next,
                CasResult::Conflict(seen) => record = seen.record.expect("it is there"),
                other => panic!("the change depends on no clock: {other:?}"),
            }
        }
    }
}

/// A reply may be awaited on another thread than the one that sent the request.
pub fn replies_may_be_awaited_on_another_thread(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (Arc::clone(subject.store()), key("k"));
    let record = some(subject.now());
    let swap = retrying::swap(&*store, &key, &change(None, &record));
    let swapped = thread::spawn(move || swap.wait()).join().expect("a waiting thread");
    assert!(matches!(swapped, Ok(CasResult::Written)), "{swapped:?}");
    let load = store.load(&key);
    let seen = thread::spawn(move || load.wait()).join().expect("a waiting thread");
    assert_eq!(seen.expect("the store can be read").record, Some(record));
}

/// If the store's error states that nothing was changed, nothing was changed.
pub fn an_error_that_states_no_change_is_accurate(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for number in 0..200 {
        let key = key(&format!("k{number}"));
        let answer = retrying::swap(store, &key, &change(None, &some(subject.now()))).wait();
        if let Err(StoreError::Unavailable(_) | StoreError::Misconfigured(_) | StoreError::Full(_)) = answer {
            eventually("the store can be read again", || store.load(&key).wait().is_ok());
            let found = load(store, &key).record;
            assert_eq!(found, None, "the store answered that nothing was changed");
        }
    }
}
