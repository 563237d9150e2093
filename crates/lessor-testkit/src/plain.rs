//! A store that is simple enough to be evidently correct. The kit creates records with it.

use std::collections::BTreeMap;
use std::ops::Bound;

use lessor_core::store::{CasResult, Closing, ConditionalWrite, Page, Purged, Reply, Scan, Snapshot};
use lessor_core::{Clock, CompareAndSwap, Durability, Key, Pending, Record, Timestamp, Token};
use parking_lot::Mutex;

use crate::clock::ManualClock;

#[derive(Debug)]
pub(crate) struct PlainStore {
    records: Mutex<BTreeMap<Key, Record>>,
    /// The highest token of all purged records.
    purged: Mutex<Option<Token>>,
    clock: ManualClock,
}

impl PlainStore {
    pub(crate) fn new(clock: ManualClock) -> Self {
        Self { records: Mutex::default(), purged: Mutex::default(), clock }
    }
}

impl CompareAndSwap for PlainStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let records = self.records.lock();
        Pending::ready(Ok(Snapshot::new(records.get(key).cloned(), self.clock.now())))
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let mut records = self.records.lock();
        let seen = Snapshot::new(records.get(key).cloned(), self.clock.now());
        Pending::ready(Ok(if !change.matches(seen.record.as_ref()) {
            CasResult::Conflict(seen)
        } else if !change.in_window(seen.now) || !change.is_above_floor(*self.purged.lock()) {
            CasResult::Rejected(seen)
        } else {
            records.insert(key.clone(), change.next.clone());
            CasResult::Written
        }))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let records = self.records.lock();
        let from = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let matching = records.range::<Key, _>((from, Bound::Unbounded));
        let matching = matching.filter(|(key, _)| key.starts_with(&query.prefix)).take(query.limit);
        let entries: Vec<_> = matching.map(|(key, record)| (key.clone(), record.clone())).collect();
        let is_full = entries.len() == query.limit;
        let next = entries.last().filter(|_| is_full).map(|(key, _)| key.clone());
        Pending::ready(Ok(Page::new(entries, next, self.clock.now())))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let now = self.clock.now();
        let mut left = limit;
        self.records.lock().retain(|_, record| {
            let goes = left > 0 && record.purge_at() <= now;
            left -= usize::from(goes);
            if goes {
                let mut purged = self.purged.lock();
                *purged = purged.max(Some(record.token()));
            }
            !goes
        });
        Pending::ready(Ok(Purged::new(limit - left, left == 0)))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}
