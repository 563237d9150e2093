//! The data that a store and its caller exchange.

use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::sync::pending::Pending;

/// A store's answer, which is there at once or comes later. It borrows nothing from the store.
pub type Reply<T> = Pending<'static, Result<T, StoreError>>;

/// The answer to a conditional write.
#[derive(Clone, Debug)]
pub enum CasResult {
    /// The record is stored, as durably as the store declares.
    Written,
    /// This record is stored in place of the given one. [`ConditionalWrite::stamped`](crate::store::ConditionalWrite::stamped) returned it.
    WrittenAs(Record),
    /// Another record is stored than the expected one: this. Nothing was changed.
    Conflict(Snapshot),
    /// The record was the expected one, but the clock is outside of the time window, or the new token does not exceed those that
    /// were purged. Nothing was changed. The engine decides again by the time in this snapshot.
    Rejected(Snapshot),
}

/// A request to list records.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The prefix of the keys.
    pub prefix: String,
    /// The key after which the list begins.
    pub after: Option<Key>,
    /// The maximum number of records. At least one is listed if there is any.
    pub limit: usize,
}

/// A part of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// In key order.
    pub entries: Vec<(Key, Record)>,
    /// Where the next page begins, if there may be one: pass it as [`Scan::after`].
    pub next: Option<Key>,
    /// The store's clock at or before the reading of the page's records.
    pub now: Timestamp,
}

/// What one call of [`Store::purge`](crate::Store::purge) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many records were dropped, at most the call's limit.
    pub dropped: usize,
    /// There may be more to drop by now. False once nothing is due.
    pub more: bool,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Volatile,
    /// The death of the process, `kill -9` included.
    Process,
    /// Power loss.
    Disk,
    /// What the server was configured to survive.
    Server,
}
