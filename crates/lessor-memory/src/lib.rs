//! The in-memory store of *lessor*: as fast as a map, and gone with the process.
//!
//! It is the store for guards within one process, for tests and for benchmarks. All engines over one
//! `Arc<MemoryStore>` share its records.
//!
//! ```
//! use std::sync::Arc;
//! use lessor_core::Engine;
//! use lessor_memory::MemoryStore;
//!
//! let engine = Engine::new(Arc::new(MemoryStore::new()))?;
//! # Ok::<(), lessor_core::Error>(())
//! ```

mod due;

use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, SharedValue};
use due::{Due, EntryAt};
use foldhash::fast::RandomState;
use lessor_core::store::{
    ChangeNotifier, Closing, Execution, Operation, Page, Purged, Reply, Scan, Snapshot, Subscribers,
};
use lessor_core::{
    Clock, Durability, Key, Pending, Record, Store, StoreError, SystemClock, Timestamp, Token,
};

/// More shards than the default of four per core: growing a shard stalls the keys of that shard only, and the
/// more there are, the shorter each stall and the rarer two threads meet.
const SHARDS: usize = 128;

/// So many records are looked at under one lock when index entries are removed.
const SWEPT_AT_ONCE: usize = 64;

/// Records in a sharded hash map, with a clock that tests can replace.
///
/// - A write and a read take one lock of one shard. [`purge`](Store::purge) looks only at records that are due, by an index that
///   takes 16 bytes per record.
/// - [`scan`](Store::scan) reads all keys for each page, since a hash map has no order: it is meant for operators.
/// - Keys are hashed with a random seed, so that nobody can choose colliding ones.
pub struct MemoryStore {
    records: DashMap<Key, Record, RandomState>,
    /// One for each shard of the records.
    due: Box<[Due]>,
    /// The shard at which the next purge begins.
    next_purged: AtomicUsize,
    clock: Arc<dyn Clock>,
    /// The highest token of any record that was purged.
    purged: AtomicU64,
    engines: Subscribers,
}

impl MemoryStore {
    /// An empty store on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty store on a clock of the caller's.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            records: DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS),
            due: (0..SHARDS).map(|_| Due::default()).collect(),
            next_purged: AtomicUsize::new(0),
            clock,
            purged: AtomicU64::new(0),
            engines: Subscribers::default(),
        }
    }

    /// How many records there are, those included whose retention has ended but that were not purged yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn seen(&self, record: Option<Record>) -> Snapshot {
        Snapshot::new(record, self.clock.now())
    }

    /// Carries an operation out under the exclusive lock of its key's shard.
    #[inline(never)]
    fn write(&self, operation: &mut Operation<'_>, hash: usize) -> Execution {
        operation.prepare();
        let at = self.records.determine_shard(hash);
        let (Some(shard), Some(due)) = (self.records.shards().get(at), self.due.get(at)) else {
            return no_shard();
        };
        let mut shard = shard.write();
        let applied = match shard.get_mut(hash as u64, |(known, _)| **known == *operation.key()) {
            Some((_, slot)) => {
                let record = slot.get_mut();
                let entry = EntryAt::of(record);
                let applied = operation.apply((&mut *record).into(), self.floor(), self.clock.now());
                if applied.is_write() {
                    due.changed(hash as u64, entry, record.purge_at());
                }
                applied
            }
            None => {
                let mut vacant = None;
                let applied = operation.apply((&mut vacant).into(), self.floor(), self.clock.now());
                if let Some(record) = vacant {
                    due.enter(hash as u64, &record);
                    let entry = (operation.to_key(), SharedValue::new(record));
                    let rehash = |(key, _): &(Key, SharedValue<Record>)| self.hash(key) as u64;
                    shard.insert(hash as u64, entry, rehash);
                }
                applied
            }
        };
        drop(shard);
        if applied.is_write() && self.engines.are_several() {
            self.engines.notify(&operation.to_key());
        }
        Execution::Done(applied)
    }

    /// Returns the highest token of any record that was purged. A purge raises it while it holds the lock of the record's shard.
    fn floor(&self) -> Option<Token> {
        Token::from_u64(self.purged.load(Ordering::Relaxed))
    }

    #[inline]
    fn hash(&self, key: &str) -> usize {
        self.records.hash_usize(&key)
    }

    /// Drops the records of these hashes whose time has come. How many there were.
    fn purge_shard(&self, at: usize, hashes: &[u64], now: Timestamp) -> usize {
        let (Some(shard), Some(due)) = (self.records.shards().get(at), self.due.get(at)) else { return 0 };
        let mut dropped = Vec::new();
        let mut shard = shard.write();
        for &hash in hashes {
            let is_of_hash = |(key, _): &(Key, SharedValue<Record>)| self.hash(key) as u64 == hash;
            match shard
                .get(hash, is_of_hash)
                .map(|(_, record)| (record.get().purge_at(), record.get().token()))
            {
                Some((purge_at, token)) if purge_at <= now => {
                    // Raised while the shard's lock is held: a grant over the gap sees it.
                    self.purged.fetch_max(token.as_u64(), Ordering::Relaxed);
                    dropped.extend(shard.remove_entry(hash, is_of_hash));
                }
                Some((purge_at, _)) => due.move_to(hash, purge_at),
                None => {}
            }
        }
        drop(shard);
        dropped.len()
    }

    /// Removes index entries of records that are gone, and second entries, once there are many of them. The shard is locked for a few
    /// records at a time. Returns how many entries were looked at.
    fn sweep(&self, at: usize) -> usize {
        let (Some(shard), Some(due)) = (self.records.shards().get(at), self.due.get(at)) else { return 0 };
        let records = shard.read().len();
        let crowd = due.take_crowd(records);
        let mut kept = Vec::new();
        for some in crowd.chunks(SWEPT_AT_ONCE) {
            let shard = shard.read();
            kept.extend(
                some.iter().copied().filter(|(_, hash)| {
                    shard.get(*hash, |(key, _)| self.hash(key) as u64 == *hash).is_some()
                }),
            );
        }
        if !kept.is_empty() {
            due.give_back(kept);
        }
        crowd.len()
    }
}

#[cold]
fn no_shard() -> Execution {
    Execution::failed(StoreError::unavailable("the table has no shard for the key"))
}

impl Store for MemoryStore {
    #[inline]
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        // Time and record belong together: the clock is read while the record cannot change.
        let record = self.records.get(&**key);
        Pending::ready(Ok(self.seen(record.as_deref().cloned())))
    }

    #[inline]
    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        let hash = self.hash(operation.key());
        if operation.may_read()
            && let Some(shard) = self.records.shards().get(self.records.determine_shard(hash))
        {
            // Time and record belong together: the clock is read while the record cannot change.
            let shard = shard.read();
            if let Some((_, slot)) = shard.get(hash as u64, |(known, _)| **known == *operation.key())
                && let Some(answered) = operation.answer(slot.get(), self.clock.now())
            {
                return Execution::Done(answered);
            }
        }
        self.write(operation, hash)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let matches = |key: &Key| {
            key.starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| key > after)
        };
        let now = self.clock.now();
        // The first `limit` keys in order, found in one pass over keys in none.
        let mut first: BinaryHeap<Key> = BinaryHeap::new();
        for slot in self.records.iter().filter(|slot| matches(slot.key())) {
            if first.len() < query.limit {
                first.push(slot.key().clone());
            } else if first.peek().is_some_and(|last| slot.key() < last) {
                first.pop();
                first.push(slot.key().clone());
            }
        }
        let keys = first.into_sorted_vec();
        let next = (keys.len() == query.limit).then(|| keys.last().cloned()).flatten();
        let record =
            |key: Key| self.records.get(&*key).map(|record| record.clone()).map(|record| (key, record));
        let entries = keys.into_iter().filter_map(record).collect();
        Pending::ready(Ok(Page::new(entries, next, now)))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let now = self.clock.now();
        let (mut examined, mut dropped) = (0, 0);
        let first = self.next_purged.load(Ordering::Relaxed);
        let mut at = first;
        for turn in 0..self.due.len() {
            at = (first + turn) % self.due.len();
            examined += self.sweep(at);
            let left = limit.saturating_sub(examined);
            let hashes = self.due.get(at).map(|due| due.take(now, left)).unwrap_or_default();
            if !hashes.is_empty() {
                examined += hashes.len();
                dropped += self.purge_shard(at, &hashes, now);
            }
            if examined >= limit {
                break;
            }
        }
        self.next_purged.store(at, Ordering::Relaxed);
        Pending::ready(Ok(Purged::new(dropped, examined >= limit)))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.engines.add(notifier);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("records", &self.len()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<MemoryStore>();
};

/// The README's code is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::time::Duration;

    use lessor_core::{Acquisition, Engine};
    use lessor_testkit::ManualClock;

    use super::due::SPARE;
    use super::*;

    /// Each time a key was forgotten, one more entry of the index by time stayed for the whole retention.
    #[test]
    fn p9_the_index_by_time_stays_small_under_keys_that_come_and_go() {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let engine = Engine::new(store.clone()).unwrap();
        let acquire = |key: &str| match engine.acquire(key).wait().unwrap() {
            Acquisition::Acquired(lease) => lease,
            other => panic!("{other:?}"),
        };
        for round in 0..10_000 {
            acquire("key").complete(&round).wait().unwrap();
            engine.forget("key").wait().unwrap();
            // The key is acquired again before its record is purged, or only later.
            if round % 3 > 0 {
                clock.advance(Duration::from_millis(10));
                engine.purge(100).wait().unwrap();
            }
        }
        let entries: usize = store.due.iter().map(Due::len).sum();
        assert!(entries < 2 * SPARE, "{entries} entries of {} records", store.len());
        // The record has an entry still.
        acquire("key").complete("last").wait().unwrap();
        clock.advance(engine.settings().limits.retention);
        while engine.purge(100).wait().unwrap() > 0 {}
        assert!(store.is_empty(), "{} records are left", store.len());
    }
}
