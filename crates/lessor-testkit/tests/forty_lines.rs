//! A correct store in about forty lines, quoted in docs/writing-a-store.md, and the proof that it is one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use lessor_core::store::{Change, Hints, Page, Reply, Scan, Seen, Swap};
use lessor_core::{Clock, Durability, Key, Pending, Record, Store, Timestamp};
use lessor_testkit::{ManualClock, Subject, conformance};
use parking_lot::Mutex;

// begin: the store
#[derive(Debug)]
struct MapStore<C: Clock> {
    records: Mutex<BTreeMap<Key, Record>>,
    clock: C,
}

impl<C: Clock> Store for MapStore<C> {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }
    fn load(&self, key: &Key) -> Reply<Seen> {
        let record = self.records.lock().get(key).cloned();
        Pending::ready(Ok(Seen { record, now: self.clock.now() }))
    }
    fn swap(&self, key: &Key, change: Change) -> Reply<Swap> {
        let mut records = self.records.lock(); // held from the comparison to the write
        let seen = Seen { record: records.get(key).cloned(), now: self.clock.now() };
        Pending::ready(Ok(if !change.expects(seen.record.as_ref()) {
            Swap::Conflict(seen)
        } else if !change.is_due(seen.now) {
            Swap::OutOfWindow(seen)
        } else {
            records.insert(key.clone(), change.next);
            Swap::Stored
        }))
    }
    fn scan(&self, query: Scan) -> Reply<Page> {
        let records = self.records.lock();
        let from = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let matching = records
            .range::<Key, _>((from, Bound::Unbounded))
            .filter(|(key, _)| key.starts_with(&query.prefix));
        let entries: Vec<_> =
            matching.take(query.limit).map(|(key, record)| (key.clone(), record.clone())).collect();
        let next = entries.last().filter(|_| entries.len() == query.limit).map(|(key, _)| key.clone());
        Pending::ready(Ok(Page { entries, next, now: self.clock.now() }))
    }
    fn purge(&self, limit: usize) -> Reply<usize> {
        let (mut records, now) = (self.records.lock(), self.clock.now());
        let due = records.iter().filter(|(_, record)| record.purge_at() <= now).take(limit);
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        due.iter().for_each(|key| drop(records.remove(key)));
        Pending::ready(Ok(due.len()))
    }
    fn durability(&self) -> Durability {
        Durability::Volatile
    }
    fn attach(&self, hints: Hints) {
        self.clock.on_step(hints); // a clock set by hand tells the engines of its steps
    }
}
// end: the store

fn forty_lines() -> Subject {
    let clock = ManualClock::new();
    let store = MapStore { records: Mutex::default(), clock: clock.clone() };
    Subject::on_manual_clock(Arc::new(store), clock)
}

conformance!(forty_lines);

#[test]
fn one_call_tests_every_promise_as_well() {
    let promises = conformance::run_all(&forty_lines);
    assert!(promises >= 40, "{promises}");
}
