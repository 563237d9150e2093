//! SQLite: one table, an upsert to acquire, an update to complete. Each statement is a transaction
//! that takes the write lock first, so that none has to be restarted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lessor_contention::{LeaseService, Reply};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::kv::{RECORDS_PER_TRANSACTION, now};
use super::{Filled, Promise, key, result};
use crate::work::{Notifications, Purger};

const DAY: Duration = Duration::from_secs(24 * 3600);

type Id = [u8; 16];

pub(super) struct Sqlite {
    /// SQLite has a single writer anyway, and for long transactions a mutex is twice as fast as
    /// SQLite's polling.
    writer: Arc<Mutex<Connection>>,
    /// One for each thread that reads.
    others: Mutex<Vec<Connection>>,
    path: PathBuf,
    promise: Promise,
    retention: Duration,
    notifications: Notifications,
    _purger: Option<Purger>,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS leases
    (key TEXT PRIMARY KEY, lease_id BLOB NOT NULL, until INTEGER NOT NULL, result BLOB) STRICT, WITHOUT ROWID";

const ACQUIRE: &str = "INSERT INTO leases VALUES (?1, ?2, ?3, NULL) ON CONFLICT DO UPDATE
    SET lease_id = excluded.lease_id, until = excluded.until WHERE result IS NULL AND until <= ?4";

const EXTEND: &str =
    "UPDATE leases SET until = ?3 WHERE key = ?1 AND lease_id = ?2 AND result IS NULL AND until > ?4";

/// Once the record is completed, `until` is the end of its retention.
const COMPLETE: &str =
    "UPDATE leases SET result = ?3, until = ?4 WHERE key = ?1 AND lease_id = ?2 AND result IS NULL";

const FILL: &str = "INSERT INTO leases VALUES (?1, ?2, ?3, ?4)";

const SELECT: &str = "SELECT until, result FROM leases WHERE key = ?1";

/// Expired records are found by an index, in workloads where records expire.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS over ON leases (until) WHERE result IS NOT NULL";
const PURGE: &str = "DELETE FROM leases WHERE result IS NOT NULL AND until <= ?1";

impl Sqlite {
    pub(super) fn open(folder: &Path, promise: Promise, retention: Option<Duration>) -> Self {
        let path = folder.join("leases.sqlite");
        let writer = connect(&path, promise);
        writer.execute(TABLE, []).expect("table");
        let writer = Arc::new(Mutex::new(writer));
        if retention.is_some() {
            writer.lock().execute(INDEX, []).expect("index");
        }
        let purger = retention.map(|_| {
            let writer = Arc::clone(&writer);
            Purger::start(move || {
                writer.lock().execute(PURGE, [micros()]).expect("delete");
            })
        });
        Self {
            _purger: purger,
            notifications: Notifications::default(),
            writer,
            others: Mutex::default(),
            path,
            promise,
            retention: retention.unwrap_or(DAY),
        }
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        let free = self.others.lock().pop();
        let connection = free.unwrap_or_else(|| connect(&self.path, self.promise));
        let done = work(&connection);
        self.others.lock().push(connection);
        done
    }

    /// Returns the number of rows that a statement changed.
    fn write(&self, statement: &str, params: impl Params) -> usize {
        self.writer.lock().prepare_cached(statement).expect("statement").execute(params).expect(statement)
    }

    fn current_reply(&self, key: &str) -> Option<Reply<Id, Vec<u8>>> {
        self.with_connection(|connection| {
            let mut statement = connection.prepare_cached(SELECT).expect("statement");
            statement
                .query_row([key], |row| Ok(reply_to(row.get(0)?, row.get(1)?)))
                .optional()
                .expect("select")
                .flatten()
        })
    }

    fn put_all(&self, records: impl Iterator<Item = (String, Id, i64, Option<Vec<u8>>)>) {
        let mut writer = self.writer.lock();
        let mut records = records.peekable();
        while records.peek().is_some() {
            let transaction = writer.transaction().expect("begin");
            let mut insert = transaction.prepare_cached(FILL).expect("statement");
            for (key, lease_id, until, result) in records.by_ref().take(RECORDS_PER_TRANSACTION) {
                insert.execute(params![key, lease_id, until, result]).expect("insert");
            }
            drop(insert);
            transaction.commit().expect("commit");
        }
    }
}

/// Returns the answer for a later caller, or `None` if the lease has lapsed.
fn reply_to(until: i64, result: Option<Vec<u8>>) -> Option<Reply<Id, Vec<u8>>> {
    match result {
        Some(result) => Some(Reply::Completed(result)),
        None => (until > micros()).then_some(Reply::InProgress),
    }
}

fn draw() -> Id {
    fastrand::u128(..).to_le_bytes()
}

fn in_micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

fn connect(path: &Path, promise: Promise) -> Connection {
    let connection = Connection::open(path).expect("SQLite opens");
    let synchronous = match promise {
        Promise::Disk => "FULL",
        Promise::Process => "OFF",
    };
    connection.busy_timeout(Duration::from_secs(60)).expect("timeout");
    connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    connection.pragma_update(None, "synchronous", synchronous).expect("synchronous");
    connection
}

fn micros() -> i64 {
    now().as_micros() as i64
}

impl LeaseService for Sqlite {
    type Lease = Id;
    type Result = Vec<u8>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Id, Vec<u8>> {
        if let Some(reply) = self.current_reply(key) {
            return reply;
        }
        let (lease_id, now) = (draw(), micros());
        match self.write(ACQUIRE, params![key, lease_id, now + in_micros(ttl), now]) {
            1 => Reply::Acquired(lease_id),
            // Another caller was faster.
            _ => self.current_reply(key).expect("a record"),
        }
    }

    async fn extend(&self, key: &str, by: &mut Id, ttl: Duration) {
        let now = micros();
        assert_eq!(self.write(EXTEND, params![key, *by, now + in_micros(ttl), now]), 1);
    }

    async fn complete(&self, key: &str, by: Id, result: &[u8]) {
        let keep_until = micros() + in_micros(self.retention);
        assert_eq!(self.write(COMPLETE, params![key, by, result, keep_until]), 1);
        self.notifications.notify(key);
    }

    async fn wait(&self, key: &str) -> Vec<u8> {
        self.notifications.wait(key, || self.shown(key)).await
    }

    async fn acquire_all(&self, keys: &[String], ttl: Duration) -> Vec<Id> {
        let (lease_ids, until): (Vec<Id>, _) =
            (keys.iter().map(|_| draw()).collect(), micros() + in_micros(ttl));
        let held = keys.iter().zip(&lease_ids);
        self.put_all(held.map(|(key, lease_id)| (key.clone(), *lease_id, until, None)));
        lease_ids
    }
}

impl Filled for Sqlite {
    fn fill(&self, count: u64) {
        let until = micros() + in_micros(DAY);
        self.put_all((0..count).map(|n| (key(n), draw(), until, Some(result(n)))));
    }

    fn shown(&self, key: &str) -> Option<Vec<u8>> {
        match self.current_reply(key) {
            Some(Reply::Completed(result)) => Some(result),
            _ => None,
        }
    }
}
