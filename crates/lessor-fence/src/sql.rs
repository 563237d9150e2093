//! Fences in SQL, as text for any client library.
//!
//! The fence is a table in the database of the effect. The statements run in the *transaction of
//! the effect*: the row of the key stays locked until the transaction ends, so no other effect of
//! the key comes between the check and the effect, and a rollback undoes both.
//!
//! 1. Begin a transaction.
//! 2. Execute [`Fence::raise`] with the key and the token.
//! 3. The token is accepted if the statement changed one row. It is stale if the statement changed
//!    none; roll back then. MySQL and MariaDB report other counts; see [`MYSQL`].
//! 4. Execute the effect, and commit.
//!
//! ```
//! use lessor_fence::sql::SQLITE;
//! use rusqlite::{Connection, Transaction, params};
//!
//! let mut database = Connection::open_in_memory()?;
//! database.execute_batch(SQLITE.create_table)?;
//! database.execute_batch("CREATE TABLE report (content TEXT)")?;
//!
//! fn write(database: &mut Connection, token: i64, content: &str) -> rusqlite::Result<bool> {
//!     let transaction = database.transaction()?;
//!     if transaction.execute(SQLITE.raise, params!["report", token])? == 0 {
//!         return Ok(false); // stale; dropping the transaction rolls it back
//!     }
//!     transaction.execute("DELETE FROM report", [])?;
//!     transaction.execute("INSERT INTO report VALUES (?1)", [content])?;
//!     transaction.commit()?;
//!     Ok(true)
//! }
//!
//! assert!(write(&mut database, 8, "written by bob")?);
//! assert!(!write(&mut database, 7, "written by alice")?);
//! # Ok::<(), rusqlite::Error>(())
//! ```
//!
//! # Forgetting
//!
//! [`Fence::forget`] deletes the keys whose token is below a floor. A deleted key accepts any token,
//! because these tables keep no floor. So the floor must be a time before which every lease has
//! ended *and* every process that held one has stopped, such as a week ago.
//!
//! # What was verified
//!
//! The tests of this crate run [`SQLITE`], and [`POSTGRES`] if `LESSOR_POSTGRES` names a database
//! (`tests/postgres.rs`, run on PostgreSQL 15). [`MYSQL`] was run by hand on MariaDB 10.11: the
//! values, the lock of the row, and a transaction that had read before. It was not run on MySQL.

/// The statements of a fence. The key is the first parameter, and the token the second one.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fence {
    /// Creates the table `lessor_fence` if it does not exist. It has no parameters.
    pub create_table: &'static str,
    /// Raises the highest token of a key, unless it is higher than the given one.
    pub raise: &'static str,
    /// Reads the highest token of a key, its only parameter, and locks the row. It returns no row
    /// for an unknown key.
    pub highest: &'static str,
    /// Deletes the keys whose highest token is below the only parameter. See the
    /// [module](self#forgetting).
    pub forget: &'static str,
}

/// The statements for SQLite 3.24 or later.
///
/// Begin the transaction with `BEGIN IMMEDIATE` if other connections write. Otherwise a
/// transaction that has read before may fail with `SQLITE_BUSY`.
pub const SQLITE: Fence = Fence {
    create_table: "\
        CREATE TABLE IF NOT EXISTS lessor_fence (\
            key TEXT NOT NULL PRIMARY KEY, \
            token INTEGER NOT NULL\
        ) WITHOUT ROWID",
    raise: "\
        INSERT INTO lessor_fence (key, token) VALUES (?1, ?2) \
        ON CONFLICT (key) DO UPDATE SET token = excluded.token \
        WHERE excluded.token >= lessor_fence.token",
    highest: "SELECT token FROM lessor_fence WHERE key = ?1",
    forget: "DELETE FROM lessor_fence WHERE token < ?1",
};

/// The statements for PostgreSQL 9.5 or later.
///
/// The default isolation level `READ COMMITTED` is sufficient: a concurrent transaction of the key
/// waits for the row, and then compares with its newest version. At the higher levels it fails with
/// a serialization error instead, and has to be repeated.
pub const POSTGRES: Fence = Fence {
    create_table: "\
        CREATE TABLE IF NOT EXISTS lessor_fence (\
            key TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, \
            token BIGINT NOT NULL\
        )",
    raise: "\
        INSERT INTO lessor_fence (key, token) VALUES ($1, $2) \
        ON CONFLICT (key) DO UPDATE SET token = excluded.token \
        WHERE excluded.token >= lessor_fence.token",
    highest: "SELECT token FROM lessor_fence WHERE key = $1 FOR UPDATE",
    forget: "DELETE FROM lessor_fence WHERE token < $1",
};

/// The statements for MySQL and MariaDB, with InnoDB.
///
/// The count of changed rows does not tell whether the token was accepted: it depends on the
/// client's flag `CLIENT_FOUND_ROWS`. Execute [`Fence::highest`] after [`Fence::raise`], in the same
/// transaction. The token is accepted if the result is equal to it. The result of a `SELECT` without
/// `FOR UPDATE` may be outdated.
pub const MYSQL: Fence = Fence {
    create_table: "\
        CREATE TABLE IF NOT EXISTS lessor_fence (\
            `key` VARBINARY(1024) NOT NULL PRIMARY KEY, \
            token BIGINT NOT NULL\
        ) ENGINE = InnoDB",
    raise: "\
        INSERT INTO lessor_fence (`key`, token) VALUES (?, ?) \
        ON DUPLICATE KEY UPDATE token = GREATEST(token, VALUES(token))",
    highest: "SELECT token FROM lessor_fence WHERE `key` = ? FOR UPDATE",
    forget: "DELETE FROM lessor_fence WHERE token < ?",
};
