//! The store, which consists of shards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use lessor_core::store::{
    Applied, ChangeNotifier, Closing, Execution, FirstKeys, Operation, Page, Purged, Reply, Scan, Snapshot,
    Subscribers,
};
use lessor_core::{Clock, Durability, Key, Pending, Record, Store, StoreError, SystemClock, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use crate::copies::{self, StoreId};
use crate::nodes::CHUNK;
use crate::table::{Table, hash};

/// The number of shards. More shards reduce contention, and shorten the time for which a growing
/// shard is locked.
const SHARDS: usize = 128;

/// A store that keeps records in a sharded hash table, with a replaceable clock.
///
/// - Reads and writes lock one of 128 shards. A thread that reads an unchanged record repeatedly
///   takes no lock.
/// - A record with a result of up to 64 bytes and a key of up to 30 bytes takes about 190 bytes.
/// - [`purge`](Store::purge) reads only records that are due, and their neighbours in chunks of 64.
///   A forgotten record is dropped immediately.
/// - [`scan`](Store::scan) reads all keys for each page, because a hash table has no order. It is
///   meant for operators.
/// - Keys are hashed with a random seed, so that no caller can choose keys that collide.
pub struct MemoryStore {
    id: StoreId,
    shards: Box<[Shard]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    /// The shard at which the next purge starts.
    next_purged: AtomicUsize,
    engines: Subscribers,
}

/// Aligned so that each shard has its own cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    table: Mutex<Table>,
    /// The number of changes of existing records. Incremented under the lock, before it is
    /// released.
    changes: AtomicU64,
}

impl Shard {
    /// Counts a change. The guard proves that no other thread does the same.
    #[inline]
    fn count_change(&self, _: &mut MutexGuard<'_, Table>) {
        self.changes.store(self.changes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

impl MemoryStore {
    /// Returns an empty store with the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// Returns an empty store with another clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            id: StoreId::next(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::default(),
            clock,
            next_purged: AtomicUsize::new(0),
            engines: Subscribers::default(),
        }
    }

    /// Returns the number of records, including those whose retention has ended but which are not
    /// purged yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.lock().len()).sum()
    }

    /// Returns whether the store has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the shard of a hash. The shard's index uses other bits of the hash.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "seven bits are less than the number of shards")]
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> 57) as usize]
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        hash(&self.hasher, key)
    }

    /// Executes an operation under the lock of its key's shard.
    fn execute_locked(&self, operation: &mut Operation<'_>, hash: u64) -> Result<Applied, StoreError> {
        let shard = self.shard(hash);
        let mut table = shard.table.lock();
        let Some(number) = table.find(hash, operation.key_bytes()) else {
            let floor = table.floor();
            let Some((number, vacant)) = table.reserve(operation.to_key()) else { return Err(no_room()) };
            let applied = operation.apply(vacant.into(), floor, self.clock.now());
            table.keep(hash, number);
            return Ok(applied);
        };
        if operation.may_read()
            && let Some((key, record)) = table.get(number)
        {
            if let Some(answered) = operation.answer_recent(record, self.clock.recent()) {
                // Only these records are copied, because a copy answers with a recent time as well.
                copies::keep(self.id, hash, shard.changes.load(Ordering::Relaxed), key, record);
                return Ok(answered);
            }
            if let Some(answered) = operation.answer(record, self.clock.now()) {
                return Ok(answered);
            }
        }
        let floor = table.floor();
        let Some(record) = table.get_mut(number) else { return Err(no_room()) };
        // The clock is read while the record cannot change, so that both are from the same moment.
        let now = self.clock.now();
        let applied = operation.apply((&mut *record).into(), floor, now);
        if applied.is_write() {
            let purge_at = record.purge_at();
            // Not before the clock has passed its token, since other keys of the shard get tokens
            // above it.
            let is_due = applied.is_end() && purge_at <= now;
            shard.count_change(&mut table);
            if is_due {
                let dropped = table.drop_record(hash, number);
                drop(table);
                drop(dropped);
            } else {
                table.changed(number, purge_at);
            }
        }
        Ok(applied)
    }

    /// Calls `each` with every record. A shard is locked for one chunk at a time.
    fn for_each(&self, mut each: impl FnMut(&Key, &Record)) {
        for shard in &self.shards {
            let mut chunk = 0;
            loop {
                let table = shard.table.lock();
                if chunk >= table.chunks() {
                    break;
                }
                table.in_chunk(chunk).for_each(|(key, record)| each(key, record));
                chunk += 1;
            }
        }
    }

    fn get(&self, key: &Key) -> (Option<Record>, Timestamp) {
        let hash = self.hash(key.as_bytes());
        let table = self.shard(hash).table.lock();
        let found = table.find(hash, key.as_bytes()).and_then(|number| table.get(number));
        // The clock is read while the record cannot change, so that both are from the same moment.
        (found.map(|(_, record)| record.clone()), self.clock.now())
    }

    /// Purges one shard. Returns the number of dropped records, and of examined records.
    fn purge_shard(&self, shard: &Shard, now: Timestamp, limit: usize) -> (usize, usize) {
        let (mut first, mut examined, mut dropped) = (0, 0, 0);
        while examined < limit {
            let room = (limit - examined).min(CHUNK as usize);
            let mut removed = Vec::with_capacity(room);
            let mut table = shard.table.lock();
            let Some((chunk, read)) = table.purge(&self.hasher, first, now, room, &mut removed) else {
                break;
            };
            if !removed.is_empty() {
                shard.count_change(&mut table);
            }
            drop(table);
            first = chunk;
            examined += read.max(1);
            dropped += removed.len();
        }
        (dropped, examined)
    }
}

#[cold]
fn no_room() -> StoreError {
    StoreError::full("a shard of the in-memory store has 2^32 records")
}

impl Store for MemoryStore {
    #[inline]
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let (record, now) = self.get(key);
        Pending::ready(Ok(Snapshot::new(record, now)))
    }

    #[inline]
    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        let hash = self.hash(operation.key_bytes());
        if operation.may_read() {
            let changes = self.shard(hash).changes.load(Ordering::Acquire);
            if let Some(answered) = copies::answer(self.id, hash, changes, operation, &*self.clock) {
                return Execution::Done(answered);
            }
        }
        match self.execute_locked(operation, hash) {
            Ok(applied) => {
                if applied.is_write() && self.engines.are_several() {
                    self.engines.notify(&operation.to_key());
                }
                Execution::Done(applied)
            }
            Err(error) => Execution::failed(error),
        }
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let now = self.clock.now();
        let mut first = FirstKeys::new(&query);
        self.for_each(|key, record| {
            if query.needs(record, now) {
                first.offer(key);
            }
        });
        let (keys, next) = first.finish();
        let entries =
            keys.into_iter().filter_map(|key| self.get(&key).0.map(|record| (key, record))).collect();
        Pending::ready(Ok(Page::new(entries, next, now)))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let now = self.clock.now();
        let (mut examined, mut dropped) = (0, 0);
        let first = self.next_purged.load(Ordering::Relaxed);
        for turn in 0..self.shards.len() {
            let at = (first + turn) % self.shards.len();
            self.next_purged.store(at, Ordering::Relaxed);
            let Some(shard) = self.shards.get(at) else { break };
            let done = self.purge_shard(shard, now, limit.saturating_sub(examined));
            dropped += done.0;
            examined += done.1;
            if examined >= limit {
                break;
            }
        }
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
