//! A custom store: seven methods and no lease rule. `docs/writing-a-store.md` explains it.
//!
//! `cargo run -p lessor --example custom_store`

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use lessor::Engine;
use lessor::store::{Cas, SystemClock};

// ANCHOR: store
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lessor::store::{
    CasResult, Clock, Closing, CompareAndSwap, ConditionalWrite, Durability, Page, Purged, Record, Reply,
    Scan, Snapshot,
};
use lessor::{Key, Pending, Timestamp, Token};

/// Records in a sorted map behind one lock.
#[derive(Debug)]
pub(crate) struct MapStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    /// The highest token of all purged records.
    purged: Option<Token>,
}

impl MapStore {
    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CompareAndSwap for MapStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let state = self.state();
        Pending::ready(Ok(Snapshot::new(state.records.get(key).cloned(), self.clock.now())))
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let mut state = self.state();
        let current = Snapshot::new(state.records.get(key).cloned(), self.clock.now());
        Pending::ready(Ok(if !change.matches(current.record.as_ref()) {
            CasResult::Conflict(current)
        } else if !change.in_window(current.now) || !change.is_above_floor(state.purged) {
            CasResult::Rejected(current)
        } else {
            let stamped = change.stamped(current.now);
            state.records.insert(key.clone(), stamped.as_ref().unwrap_or(change.next).clone());
            stamped.map_or(CasResult::Written, CasResult::WrittenAs)
        }))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let state = self.state();
        let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching =
            state.records.range((from, Bound::Unbounded)).filter(|(key, _)| key.starts_with(&query.prefix));
        let entries: Vec<_> =
            matching.take(query.limit).map(|(key, record)| (key.clone(), record.clone())).collect();
        let next =
            (entries.len() == query.limit).then(|| entries.last().map(|(key, _)| key.clone())).flatten();
        Pending::ready(Ok(Page::new(entries, next, self.clock.now())))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let (now, mut state) = (self.clock.now(), self.state());
        let due = state.records.iter().filter(|(_, record)| record.purge_at() <= now);
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).take(limit).collect();
        for key in &due {
            let token = state.records.remove(key).map(|record| record.token());
            state.purged = state.purged.max(token);
        }
        Pending::ready(Ok(Purged::new(due.len(), due.len() == limit)))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}
// ANCHOR_END: store

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(Arc::new(Cas::new(MapStore::with_clock(Arc::new(SystemClock::new())))))?;

    let runs = AtomicU32::new(0);
    let work = || engine.once("job:1").run(|_lease| Ok::<_, String>(runs.fetch_add(1, Ordering::Relaxed)));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(work);
        }
    });
    println!("eight threads called, the work ran {} time(s)", runs.load(Ordering::Relaxed));

    for (key, view) in engine.list().prefix("job:").limit(100).wait()?.entries {
        println!("{key}: {}, version {}", view.state(), view.version());
    }
    Ok(())
}
