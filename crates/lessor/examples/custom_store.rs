//! A store of your own: six methods, no lease rule. `docs/writing-a-store.md` explains this one line by line.
//!
//! `cargo run -p lessor --example custom_store`

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use lessor::{Engine, SystemClock};

// ANCHOR: store
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lessor::store::{Change, Hints, Page, Reply, Scan, Seen, Swap};
use lessor::{Clock, Durability, Key, Pending, Record, Store, Timestamp};

/// Records in a sorted map behind one lock.
#[derive(Debug)]
struct MapStore {
    records: Mutex<BTreeMap<Key, Record>>,
    clock: Arc<dyn Clock>,
}

impl MapStore {
    fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { records: Mutex::default(), clock }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MapStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        let record = self.records().get(key).cloned();
        Pending::ready(Ok(Seen { record, now: self.clock.now() }))
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        let mut records = self.records();
        let seen = Seen { record: records.get(key).cloned(), now: self.clock.now() };
        Pending::ready(Ok(if !change.expects(seen.record.as_ref()) {
            Swap::Conflict(seen)
        } else if !change.is_due(seen.now) {
            Swap::OutOfWindow(seen)
        } else {
            records.insert(key.clone(), change.next.clone());
            Swap::Stored
        }))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let records = self.records();
        let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching =
            records.range((from, Bound::Unbounded)).filter(|(key, _)| key.starts_with(&query.prefix));
        let entries: Vec<_> =
            matching.take(query.limit).map(|(key, record)| (key.clone(), record.clone())).collect();
        let next =
            (entries.len() == query.limit).then(|| entries.last().map(|(key, _)| key.clone())).flatten();
        Pending::ready(Ok(Page { entries, next, now: self.clock.now() }))
    }

    fn purge(&self, limit: usize) -> Reply<usize> {
        let (now, mut records) = (self.clock.now(), self.records());
        let over = records.iter().filter(|(_, record)| record.purge_at() <= now).map(|(key, _)| key.clone());
        let over: Vec<Key> = over.take(limit).collect();
        Pending::ready(Ok(over.iter().filter(|key| records.remove(*key).is_some()).count()))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    /// Waiters have to look again when a clock that is set by hand makes a step.
    fn attach(&self, hints: Hints) {
        self.clock.on_step(hints);
    }
}
// ANCHOR_END: store

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(Arc::new(MapStore::with_clock(Arc::new(SystemClock::new()))))?;

    let runs = AtomicU32::new(0);
    let work = || engine.once("job:1").run(|_lease| Ok::<_, String>(runs.fetch_add(1, Ordering::Relaxed)));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(work);
        }
    });
    println!("eight threads asked, the work ran {} time(s)", runs.load(Ordering::Relaxed));

    for (key, view) in engine.list("job:", None, 100).wait()?.entries {
        println!("{key}: {}, version {}", view.state(), view.version());
    }
    Ok(())
}
