//! Concurrent swaps on real threads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lessor_core::store::CasResult;

use super::Factory;
use super::tools::*;

const ROUNDS: usize = 60;

/// If many threads expect no record, exactly one stores its record.
pub fn one_of_many_swaps_on_an_absent_key_wins(factory: Factory<'_>) {
    let subject = factory();
    let (store, now) = (&**subject.store(), subject.now());
    for round in 0..ROUNDS {
        let key = key(&format!("round {round}"));
        let answers = race(RACERS, |_| {
            let record = some(now);
            (swap(store, &key, change(None, &record)), record)
        });
        let won: Vec<_> = answers.iter().filter(|(answer, _)| matches!(answer, CasResult::Written)).collect();
        assert_eq!(won.len(), 1, "number of winners for {key}");
        assert_eq!(load(store, &key).record.as_ref(), won.first().map(|(_, record)| record));
    }
}

/// If many threads expect the same record, exactly one replaces it.
pub fn one_of_many_swaps_on_one_record_wins(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (mut record, _) = granted(now, LONG);
    put(store, &key, &record);
    for _ in 0..ROUNDS {
        let answers = race(RACERS, |_| {
            let next = some(now);
            (swap(store, &key, change(Some(&record), &next)), next)
        });
        let won: Vec<_> = answers.iter().filter(|(answer, _)| matches!(answer, CasResult::Written)).collect();
        assert_eq!(won.len(), 1, "number of replacements of one record");
        record = won.first().map(|(_, next)| next.clone()).expect("one won");
        assert_eq!(load(store, &key).record.as_ref(), Some(&record));
    }
}

/// No increment is lost when many threads count by compare-and-swap.
pub fn no_swap_is_lost(factory: Factory<'_>) {
    const STEPS: usize = 50;
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (first, holder) = granted(now, LONG);
    put(store, &key, &first);
    race(RACERS, |_| {
        for _ in 0..STEPS {
            let mut current = load(store, &key).record.expect("it is there");
            loop {
                match swap(store, &key, change(Some(&current), &changed(&current, holder, now))) {
                    CasResult::Written => break,
                    CasResult::Conflict(seen) => current = seen.record.expect("it is there"),
                    other => panic!("the change depends on no clock: {other:?}"),
                }
            }
        }
    });
    let last = load(store, &key).record.expect("it is there");
    assert_eq!(last.version().as_u64(), 1 + (RACERS * STEPS) as u64, "steps were lost");
}

/// A conflict in a race returns the record that the winner wrote.
pub fn a_conflict_returns_the_record_of_the_winner(factory: Factory<'_>) {
    let subject = factory();
    let (store, now) = (&**subject.store(), subject.now());
    for round in 0..ROUNDS {
        let key = key(&format!("round {round}"));
        let answers = race(RACERS, |_| {
            let record = some(now);
            (swap(store, &key, change(None, &record)), record)
        });
        let won = answers.iter().find(|(answer, _)| matches!(answer, CasResult::Written));
        let (_, winner) = won.expect("one wins");
        for (answer, _) in &answers {
            if let CasResult::Conflict(seen) = answer {
                assert_eq!(seen.record.as_ref(), Some(winner));
            }
        }
    }
}

/// Readers see versions in the order in which a concurrent writer writes them.
pub fn readers_see_versions_in_order(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (mut record, holder) = granted(now, LONG);
    put(store, &key, &record);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::SeqCst) {
                    let version = load(store, &key).record.expect("it is there").version().as_u64();
                    assert!(version >= last, "version {version} after {last}");
                    last = version;
                }
            });
        }
        for _ in 0..300 {
            let next = changed(&record, holder, now);
            let answer = swap(store, &key, change(Some(&record), &next));
            if !matches!(answer, CasResult::Written) {
                done.store(true, Ordering::SeqCst);
                panic!("the only writer was refused: {answer:?}");
            }
            record = next;
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// Every thread sees an acknowledged swap.
pub fn an_acknowledged_swap_is_seen_by_every_thread(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (first, holder) = granted(now, LONG);
    put(store, &key, &first);
    let acknowledged = High::default();
    race(RACERS, |number| {
        for _ in 0..100 {
            let at_least = acknowledged.get();
            let current = load(store, &key).record.expect("it is there");
            let version = current.version().as_u64();
            assert!(version >= at_least, "version {at_least} was acknowledged, but {version} is read");
            if number % 2 == 0 {
                let next = changed(&current, holder, now);
                if let CasResult::Written = swap(store, &key, change(Some(&current), &next)) {
                    acknowledged.raise(next.version().as_u64());
                }
            }
        }
    });
    let versions: BTreeSet<u64> =
        race(RACERS, |_| load(store, &key).record.expect("it is there").version().as_u64())
            .into_iter()
            .collect();
    assert_eq!(versions, [acknowledged.get()].into(), "threads see different records at rest");
}
