//! The requests and replies of a store.

use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::snapshot::Snapshot;
use crate::data::state::States;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::sync::pending::Pending;

/// A store's reply, which may be available immediately or arrive later. Borrows nothing from the
/// store.
pub type Reply<T> = Pending<Result<T, StoreError>>;

/// The reply to a conditional write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CasResult {
    /// The record is stored, with the durability that the store declares.
    Written,
    /// This record is stored instead of the given one. It was returned by
    /// [`ConditionalWrite::stamped`](crate::store::ConditionalWrite::stamped).
    WrittenAs(Record),
    /// The stored record is this one and not the expected one. Nothing was changed.
    Conflict(Snapshot),
    /// The stored record is the expected one, but the clock is outside of the time window, or the
    /// new token is not higher than all purged ones. Nothing was changed. The engine decides again
    /// with the time of this snapshot.
    Rejected(Snapshot),
}

/// A request to list records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scan {
    /// The prefix of the keys.
    pub prefix: String,
    /// The key after which the list begins.
    pub after: Option<Key>,
    /// The maximum number of records. The store returns at least one if there is any.
    pub limit: usize,
    /// The states of the records that the engine needs. Empty for all of them.
    states: States,
}

impl Scan {
    /// Returns a request for up to `limit` records whose keys begin with `prefix` and follow
    /// `after`.
    pub fn new(prefix: impl Into<String>, after: Option<Key>, limit: usize) -> Self {
        Self { prefix: prefix.into(), after, limit, states: States::default() }
    }

    /// Restricts the request to records in these states, unless they are empty.
    #[must_use]
    pub(crate) fn in_states(self, states: States) -> Self {
        Self { states, ..self }
    }

    /// Returns whether the engine needs `record`, as it is at `now`. A store that has the record at
    /// hand when it chooses the keys of a page can leave out the others. It may return them as well.
    #[must_use]
    pub fn needs(&self, record: &Record, now: Timestamp) -> bool {
        self.states.is_empty() || record.visible_state(now).is_some_and(|state| self.states.contains(state))
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The keys and their records, in key order.
    pub entries: Vec<(Key, Record)>,
    /// The cursor of the next page, to be passed as [`Scan::after`]. `None` after the last page.
    pub next: Option<Key>,
    /// The store's time. Not later than the reading of any of the records.
    pub now: Timestamp,
}

impl Page {
    /// Returns a page of `entries`, after which the list continues with `next`.
    #[must_use]
    pub fn new(entries: Vec<(Key, Record)>, next: Option<Key>, now: Timestamp) -> Self {
        Self { entries, next, now }
    }
}

/// The result of one call of [`Store::purge`](crate::Store::purge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// The number of removed records, at most the limit of the call.
    pub dropped: usize,
    /// True if more records may be due. False if nothing is due any more.
    pub more: bool,
}

impl Purged {
    /// Returns the result of a call that removed `dropped` records.
    #[must_use]
    pub const fn new(dropped: usize, more: bool) -> Self {
        Self { dropped, more }
    }
}

/// The kind of failure that an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// None. Writes are lost when the process ends.
    Volatile,
    /// The end of the process, including `kill -9`.
    Process,
    /// Power loss.
    Disk,
    /// The failures that the server is configured to survive.
    Server,
}
