//! SQLite: one table, an upsert to acquire, an update to complete. Each statement is a transaction that takes the write
//! lock as it begins, so that nobody has to begin again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

use super::Promise;
use super::kv::{AT_ONCE, now};
use crate::{Guard, Receipt, TTL, Told, key};

pub(super) struct Sqlite {
    /// Writes what is to be synced: SQLite has one writer at a time anyway, and where each takes long, waiting for a mutex is
    /// twice as fast as SQLite's polling. Where nothing is synced it is the other way round.
    writer: Mutex<Connection>,
    /// One for each thread that is at it.
    others: Mutex<Vec<Connection>>,
    path: PathBuf,
    promise: Promise,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS leases
    (key TEXT PRIMARY KEY, lease_id BLOB NOT NULL, until INTEGER NOT NULL, result BLOB) STRICT, WITHOUT ROWID";

const ACQUIRE: &str = "INSERT INTO leases VALUES (?1, ?2, ?3, NULL) ON CONFLICT DO UPDATE
    SET lease_id = excluded.lease_id, until = excluded.until WHERE result IS NULL AND until <= ?4";

const COMPLETE: &str = "UPDATE leases SET result = ?3 WHERE key = ?1 AND lease_id = ?2 AND result IS NULL";

const FILL: &str = "INSERT INTO leases VALUES (?1, ?2, 0, ?3)";

const LOOK: &str = "SELECT until, result FROM leases WHERE key = ?1";

impl Sqlite {
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let path = folder.join("leases.sqlite");
        let writer = connect(&path, promise);
        writer.execute(TABLE, []).expect("table");
        Self { writer: Mutex::new(writer), others: Mutex::default(), path, promise }
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        let free = self.others.lock().pop();
        let connection = free.unwrap_or_else(|| connect(&self.path, self.promise));
        let done = work(&connection);
        self.others.lock().push(connection);
        done
    }

    fn with_writer<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        match self.promise {
            Promise::Disk => work(&self.writer.lock()),
            Promise::Process => self.with_connection(work),
        }
    }

    fn look(&self, key: &str) -> Option<Told> {
        self.with_connection(|connection| {
            let mut look = connection.prepare_cached(LOOK).expect("statement");
            look.query_row([key], |row| Ok(tell(row.get(0)?, row.get_ref(1)?.as_blob_or_null()?)))
                .optional()
                .expect("select")
                .flatten()
        })
    }

    fn acquire(&self, key: &str) -> Result<[u8; 16], Told> {
        if let Some(told) = self.look(key) {
            return Err(told);
        }
        let lease_id = fastrand::u128(..).to_le_bytes();
        let now = micros();
        let until = now + TTL.as_micros() as i64;
        self.with_writer(|writer| {
            let mut acquire = writer.prepare_cached(ACQUIRE).expect("statement");
            assert_eq!(acquire.execute(params![key, lease_id, until, now]).expect("upsert"), 1);
        });
        Ok(lease_id)
    }

    fn complete(&self, key: &str, by: [u8; 16], receipt: &Receipt) {
        let result = serde_json::to_vec(receipt).expect("JSON");
        self.with_writer(|writer| {
            let mut complete = writer.prepare_cached(COMPLETE).expect("statement");
            assert_eq!(complete.execute(params![key, by, result]).expect("update"), 1);
        });
    }
}

/// What a later caller is told; `None` if the lease has run out.
fn tell(until: i64, result: Option<&[u8]>) -> Option<Told> {
    match result {
        Some(result) => Some(Told::Replayed(serde_json::from_slice(result).expect("a receipt"))),
        None => {
            let left = u64::try_from(until - micros()).ok()?;
            Some(Told::Refused(Duration::from_micros(left)))
        }
    }
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

impl Guard for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        match self.acquire(key) {
            Err(told) => told,
            Ok(lease_id) => {
                self.complete(key, lease_id, receipt);
                Told::Done
            }
        }
    }

    fn hold(&self, key: &str) {
        self.acquire(key).expect("free");
    }

    fn fill(&self, count: u64) {
        let mut writer = self.writer.lock();
        let mut records = (0..count).peekable();
        while records.peek().is_some() {
            let transaction = writer.transaction().expect("begin");
            let mut insert = transaction.prepare_cached(FILL).expect("statement");
            for n in records.by_ref().take(AT_ONCE) {
                let result = serde_json::to_vec(&Receipt::new(n)).expect("JSON");
                insert.execute(params![key(0, n), fastrand::u128(..).to_le_bytes(), result]).expect("insert");
            }
            drop(insert);
            transaction.commit().expect("commit");
        }
    }
}
