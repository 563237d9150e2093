//! A store over a database with row locks. It decides each operation on a locked row, in a
//! transaction.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_listener::Event;
use lessor_core::store::{
    ChangeNotifier, Closing, Executed, Execution, Operation, OwnedOperation, Page, Purged, Reply, Scan,
    Snapshot, Subscribers, Unconfirmed,
};
use lessor_core::{
    Acquisition, Clock, Durability, Engine, Key, Lease, Pending, Record, Store, StoreError, Timestamp, Token,
};
use lessor_testkit::{ManualClock, Subject, conformance};
use parking_lot::Mutex;

/// A simulated database server: rows of bytes, row locks that last until the end of the
/// transaction, notifications on commit, and commits whose replies are lost.
#[derive(Debug)]
struct Database {
    rows: Mutex<BTreeMap<Key, Row>>,
    floor: AtomicU64,
    unlocked: Event,
    clock: ManualClock,
    listeners: Subscribers,
    /// The number of commits whose replies will be lost. Every other one of these commits takes
    /// effect.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Row {
    committed: Option<Vec<u8>>,
    is_locked: bool,
}

/// A transaction, which is rolled back if it is dropped.
struct Transaction {
    database: Arc<Database>,
    locked: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Database {
    fn begin(self: &Arc<Self>) -> Transaction {
        Transaction { database: Arc::clone(self), locked: BTreeMap::new() }
    }
}

impl Transaction {
    /// `INSERT … ON CONFLICT DO NOTHING`, then `SELECT … FOR UPDATE`, because a row that does not
    /// exist cannot be locked.
    async fn select_for_update(&mut self, key: &Key) -> Option<Vec<u8>> {
        if let Some(own) = self.locked.get(key) {
            return own.clone();
        }
        loop {
            let unlocked = self.database.unlocked.listen();
            {
                let mut rows = self.database.rows.lock();
                let row = rows.entry(key.clone()).or_default();
                if !row.is_locked {
                    row.is_locked = true;
                    self.locked.insert(key.clone(), row.committed.clone());
                    return row.committed.clone();
                }
            }
            unlocked.await;
        }
    }

    fn update(&mut self, key: &Key, bytes: Vec<u8>) {
        self.locked.insert(key.clone(), Some(bytes));
    }

    #[expect(clippy::unused_async, reason = "that of a server is")]
    async fn commit(mut self) -> Result<(), StoreError> {
        let lost = self.database.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let indeterminate = || Err(StoreError::indeterminate("the reply was lost"));
        if lost.is_ok_and(|lost| lost.is_multiple_of(2)) {
            return indeterminate();
        }
        let mut changed = Vec::new();
        for (key, bytes) in std::mem::take(&mut self.locked) {
            let mut rows = self.database.rows.lock();
            let row = rows.entry(key.clone()).or_default();
            row.is_locked = false;
            if row.committed != bytes {
                row.committed = bytes;
                changed.push(key);
            }
        }
        self.database.unlocked.notify(usize::MAX);
        changed.iter().for_each(|key| self.database.listeners.notify(key));
        if lost.is_ok() { indeterminate() } else { Ok(()) }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let mut rows = self.database.rows.lock();
        for key in self.locked.keys() {
            if let Some(row) = rows.get_mut(key) {
                row.is_locked = false;
            }
        }
        drop(rows);
        self.database.unlocked.notify(usize::MAX);
    }
}

fn decoded(key: &Key, bytes: Option<Vec<u8>>) -> Result<Option<Record>, StoreError> {
    let decode =
        |bytes: Vec<u8>| Record::decode(&bytes).map_err(|error| StoreError::undecodable(key.as_str(), error));
    bytes.map(decode).transpose()
}

/// A store over the database.
#[derive(Clone, Debug)]
struct SqlStore(Arc<Database>);

impl SqlStore {
    /// Executes an operation in its own transaction. If the reply to the commit is lost, the row
    /// shows whether the commit took effect.
    async fn execute(self, operation: OwnedOperation) -> Result<Executed, StoreError> {
        let mut unconfirmed = Unconfirmed::default();
        loop {
            let mut transaction = self.0.begin();
            let bytes = transaction.select_for_update(operation.key()).await;
            if let Some(record) = decoded(operation.key(), bytes)?
                && let Some(executed) = unconfirmed.find(&record)
            {
                let executed: Executed = executed;
                return Ok(executed.found(&record, self.0.clock.now()));
            }
            let executed = self.decide(&mut transaction, &operation).await?;
            let written = transaction.locked.get(operation.key()).cloned().flatten();
            match transaction.commit().await {
                Err(StoreError::Indeterminate(_)) if executed.is_write() => {
                    if let Some(record) = decoded(operation.key(), written)? {
                        unconfirmed.add(record, executed);
                    }
                }
                Err(StoreError::Indeterminate(_)) => {}
                done => return done.map(|()| executed),
            }
        }
    }

    /// Decides an operation on its row, which the transaction locks.
    async fn decide(
        &self,
        transaction: &mut Transaction,
        operation: &OwnedOperation,
    ) -> Result<Executed, StoreError> {
        let bytes = transaction.select_for_update(operation.key()).await;
        let mut record = decoded(operation.key(), bytes)?;
        // `clock_timestamp()`, because `now()` is the time at which the transaction began.
        let now = self.0.clock.now();
        let floor = Token::from_u64(self.0.floor.load(Ordering::SeqCst));
        let executed = operation.apply((&mut record).into(), floor, now);
        if let (true, Some(record)) = (executed.is_write(), record) {
            transaction.update(operation.key(), record.encode());
        }
        Ok(executed)
    }
}

impl Store for SqlStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.0.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let rows = self.0.rows.lock();
        let bytes = rows.get(key).and_then(|row| row.committed.clone());
        Pending::ready(decoded(key, bytes).map(|record| Snapshot::new(record, self.0.clock.now())))
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        Execution::Later(Pending::later(self.clone().execute(operation.to_owned())))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let now = self.0.clock.now();
        let rows = self.0.rows.lock();
        let matching = rows.iter().filter(|(key, row)| {
            row.committed.is_some()
                && key.starts_with(&query.prefix)
                && query.after.as_ref().is_none_or(|after| *key > after)
        });
        let entries: Result<Vec<_>, StoreError> = matching
            .take(query.limit)
            .map(|(key, row)| Ok((key.clone(), decoded(key, row.committed.clone())?.unwrap())))
            .collect();
        Pending::ready(entries.map(|entries| {
            let next = (entries.len() == query.limit).then(|| entries.last().unwrap().0.clone());
            Page::new(entries, next, now)
        }))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let (now, mut left) = (self.0.clock.now(), limit);
        self.0.rows.lock().retain(|_, row| {
            // `SKIP LOCKED`.
            let Some(bytes) = row.committed.as_ref().filter(|_| left > 0 && !row.is_locked) else {
                return true;
            };
            let outline = Record::header(bytes).unwrap();
            if outline.purge_at() > now {
                return true;
            }
            self.0.floor.fetch_max(outline.token.as_u64(), Ordering::SeqCst);
            left -= 1;
            false
        });
        Pending::ready(Ok(Purged::new(limit - left, left == 0)))
    }

    fn durability(&self) -> Durability {
        Durability::Server
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.0.listeners.add(notifier);
    }
}

fn store() -> (SqlStore, ManualClock) {
    let clock = ManualClock::new();
    let database = Database {
        rows: Mutex::default(),
        floor: AtomicU64::new(0),
        unlocked: Event::new(),
        clock: clock.clone(),
        listeners: Subscribers::default(),
        lost: AtomicU64::new(0),
    };
    (SqlStore(Arc::new(database)), clock)
}

fn row_locks() -> Subject {
    let (store, clock) = store();
    Subject::on_manual_clock(Arc::new(store), clock).with_reads_before_commits()
}

conformance!(row_locks);

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// *Extend*, *checkpoint* and the outcomes take effect once, whether or not the commits with lost
/// replies took effect.
#[test]
fn p6_p10_a_commit_whose_reply_is_lost_is_carried_out_once() {
    for lost in 1..6 {
        let (store, _clock) = store();
        let engine = Engine::new(Arc::new(store.clone())).unwrap();
        store.0.lost.store(lost, Ordering::SeqCst);
        let lease = acquire(&engine);
        let version = |engine: &Engine| engine.status("key").wait().unwrap().unwrap().version().as_u64();
        assert_eq!((lease.attempt(), version(&engine)), (1, 1), "{lost} lost");
        for (number, written) in (0_u64..3).zip(2..) {
            store.0.lost.store(lost, Ordering::SeqCst);
            match number {
                0 => lease.extend(Duration::from_secs(3600)).wait(),
                1 => lease.checkpoint("half").wait(),
                _ => lease.complete("done").wait(),
            }
            .unwrap();
            assert_eq!(version(&engine), written, "operation {number}, {lost} lost");
        }
    }
}
