//! The statements for SQLite, on SQLite.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use lessor_fence::sql::SQLITE;
use rusqlite::{Connection, Result, params};

fn database() -> Connection {
    let database = Connection::open_in_memory().unwrap();
    database.execute_batch(SQLITE.create_table).unwrap();
    // The table may exist already.
    database.execute_batch(SQLITE.create_table).unwrap();
    database
}

fn raise(database: &Connection, key: &str, token: i64) -> usize {
    database.execute(SQLITE.raise, params![key, token]).unwrap()
}

fn highest(database: &Connection, key: &str) -> Result<i64> {
    database.query_row(SQLITE.highest, [key], |row| row.get(0))
}

#[test]
fn the_count_of_rows_of_sqlite_tells_whether_a_token_is_accepted() {
    let database = database();
    let token = (1 << 53) - 1;
    assert_eq!(raise(&database, "a", 5), 1);
    assert_eq!(raise(&database, "a", 5), 1);
    assert_eq!(raise(&database, "a", 4), 0);
    assert_eq!(highest(&database, "a"), Ok(5));
    assert_eq!(raise(&database, "a", token), 1);
    assert_eq!(raise(&database, "a", 5), 0);
    assert_eq!(raise(&database, "A", 1), 1);
    assert_eq!((highest(&database, "a"), highest(&database, "A")), (Ok(token), Ok(1)));
    assert_eq!(highest(&database, "b"), Err(rusqlite::Error::QueryReturnedNoRows));
}

#[test]
fn a_rollback_in_sqlite_undoes_the_token_with_the_effect() {
    let mut database = database();
    raise(&database, "a", 5);
    let transaction = database.transaction().unwrap();
    assert_eq!(raise(&transaction, "a", 8), 1);
    transaction.rollback().unwrap();
    assert_eq!(raise(&database, "a", 6), 1);
}

#[test]
fn forgetting_in_sqlite_deletes_the_keys_below_the_floor() {
    let database = database();
    for (key, token) in [("a", 5), ("b", 6), ("c", 7)] {
        raise(&database, key, token);
    }
    assert_eq!(database.execute(SQLITE.forget, [6]).unwrap(), 1);
    assert!(highest(&database, "a").is_err());
    assert_eq!((highest(&database, "b"), highest(&database, "c")), (Ok(6), Ok(7)));
}

#[test]
fn two_connections_of_sqlite_share_the_fence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sink.db");
    let mut first = Connection::open(&path).unwrap();
    let second = Connection::open(&path).unwrap();
    first.execute_batch(SQLITE.create_table).unwrap();
    let transaction = first.transaction().unwrap();
    assert_eq!(raise(&transaction, "a", 8), 1);
    // The other connection can write only after this transaction.
    second.busy_timeout(std::time::Duration::ZERO).unwrap();
    let busy = second.execute(SQLITE.raise, params!["a", 7]).unwrap_err();
    assert_eq!(busy.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    transaction.commit().unwrap();
    assert_eq!(raise(&second, "a", 7), 0);
}
