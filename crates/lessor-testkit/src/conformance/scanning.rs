//! Listings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lessor_core::{Key, Record, State};

use super::Factory;
use super::tools::*;
use crate::subject::Subject;

/// Fills the store with `count` records, which are written in another order than that of their
/// keys.
fn fill(subject: &Subject, prefix: &str, count: usize) -> BTreeMap<Key, Record> {
    let mut records = BTreeMap::new();
    for number in 0..count {
        let shuffled = number * 7919 % count;
        let key = key(&format!("{prefix}{shuffled:04}"));
        let record = some(subject.now());
        put(&**subject.store(), &key, &record);
        records.insert(key, record);
    }
    records
}

/// An empty store has an empty listing.
pub fn an_empty_store_lists_nothing(factory: Factory<'_>) {
    let subject = factory();
    assert_eq!(list(&**subject.store(), "", 10), []);
    assert_eq!(list(&**subject.store(), "a", 1), []);
}

/// Records are listed in the byte order of their keys.
pub fn scan_lists_in_key_order(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let mut names = ["b", "a", "é", "Z", "z", "aa", "a ", "a0", "10", "9", "\u{1F980}", "~", "{", "\u{FFFD}"];
    for name in names {
        put(store, &key(name), &some(subject.now()));
    }
    names.sort_unstable();
    for limit in [1, 3, 100] {
        let listed: Vec<_> = list(store, "", limit).into_iter().map(|(key, _)| key).collect();
        let listed: Vec<_> = listed.iter().map(Key::as_str).collect();
        assert_eq!(listed, names, "in pages of {limit}");
    }
}

/// Only keys that begin with the prefix are listed, and no character of the prefix is a wildcard.
pub fn scan_filters_by_prefix(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let names = [
        "a", "a*", "a*b", "ab", "a?", "a[b]", "a%", "a%b", "a_", "a_b", "axb", "A", "{a}", "{a}:1", "\\a",
        "é", "e\u{301}", "a.b", "a'b", "a\"",
    ];
    for name in names {
        put(store, &key(name), &some(subject.now()));
    }
    for prefix in names.into_iter().chain(["", "a*b*", "nothing", "{", "[", ".*"]) {
        let listed: Vec<_> = list(store, prefix, 3).into_iter().map(|(key, _)| key).collect();
        let mut expected: Vec<_> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(listed.iter().map(Key::as_str).collect::<Vec<_>>(), expected, "prefix {prefix:?}");
    }
}

/// Pages of any size contain every record once.
pub fn scan_returns_every_record_once_for_any_page_size(factory: Factory<'_>) {
    let subject = factory();
    fill(&subject, "x", 5);
    let records: Vec<_> = fill(&subject, "k", 60).into_iter().collect();
    for limit in [1, 7, 59, 60, 61, 1000] {
        assert_eq!(list(&**subject.store(), "k", limit), records, "in pages of {limit}");
    }
}

/// A listing continues after its cursor, whether or not there is a record under it.
pub fn scan_continues_after_a_cursor_without_a_record(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for name in ["b", "d", "f"] {
        put(store, &key(name), &some(subject.now()));
    }
    for (after, expected) in [("a", 3), ("b", 2), ("c", 2), ("d", 1), ("e", 1), ("f", 0), ("g", 0)] {
        let page = page(store, "", Some(key(after)), 10);
        assert_eq!(page.entries.len(), expected, "behind {after:?}");
        assert!(page.entries.iter().all(|(key, _)| key.as_str() > after));
    }
}

/// A listing contains the same records as `load` returns.
pub fn scan_returns_the_same_records_as_load(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for (number, record) in variety(subject.now(), b"result").iter().enumerate() {
        put(store, &key(&format!("kind {number}")), record);
    }
    let listed = list(store, "kind ", 3);
    assert!(!listed.is_empty());
    for (key, record) in listed {
        assert_eq!(Some(record.encode()), load(store, &key).record.map(|record| record.encode()));
    }
}

/// Records that exist throughout appear exactly once, in order, while others are written and purged
/// between the pages.
pub fn scan_returns_unchanged_records_once_while_others_change(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    let now = subject.now();
    let stay: Vec<Key> = fill(&subject, "stay", 40).into_keys().collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u32;
            while !done.load(Ordering::SeqCst) {
                let between = key(&format!("stay{:04}+{}", number % 40, number % 160));
                let _ = crate::retrying::swap(store, &between, &change(None, &due(now))).wait();
                if number.is_multiple_of(16) {
                    let _ = store.purge(8).wait();
                }
                number += 1;
            }
        });
        for limit in [1, 3, 8, 50].into_iter().cycle().take(12) {
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let page = page(store, "stay", after, limit);
                seen.extend(page.entries.into_iter().map(|(key, _)| key));
                match page.next {
                    None => break,
                    next => after = next,
                }
            }
            let seen: Vec<_> = seen.into_iter().filter(|key| !key.contains('+')).collect();
            if seen != stay {
                done.store(true, Ordering::SeqCst);
                assert_eq!(seen, stay, "in pages of {limit}");
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// A listing by state returns every key in the state once, for any page size.
pub fn a_listing_by_state_returns_each_key_in_the_state_once(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let name = |number: usize| format!("job:{number:02}");
    for number in 0..20 {
        let lease = take(engine.acquire(&name(number)).ttl(LONG));
        match number % 4 {
            0 => drop(lease.complete(&number).wait().expect("the holder may")),
            1 => drop(lease.fail("code").wait().expect("the holder may")),
            2 => drop(lease.release().wait().expect("the holder may")),
            _ => drop(lease.abandon().wait().expect("the holder may")),
        }
    }
    for limit in 1..8 {
        for (states, of) in [
            (&[State::Completed][..], &[0][..]),
            (&[State::Failed, State::Lapsed], &[1, 3]),
            (&[State::InProgress], &[]),
            (&[], &[0, 1, 2, 3]),
        ] {
            let (mut keys, mut after) = (Vec::new(), None);
            loop {
                let request = engine.list().prefix("job:").after(after).limit(limit);
                let request = states.iter().fold(request, |request, state| request.state(*state));
                let page = request.wait().expect("the keys can be listed");
                assert!(page.entries.len() <= limit);
                keys.extend(page.entries.into_iter().map(|(key, _)| key.as_str().to_owned()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = (0..20).filter(|number| of.contains(&(number % 4))).map(name).collect();
            assert_eq!(keys, expected, "{states:?} in pages of {limit}");
        }
    }
}
