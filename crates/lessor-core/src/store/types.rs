//! The data that a store and its caller exchange.

use super::error::StoreError;
use crate::key::Key;
use crate::pending::Pending;
use crate::record::{Record, Token};
use crate::time::Timestamp;

/// A store's answer, which is there at once or comes later. It borrows nothing from the store.
pub type Reply<T> = Pending<'static, Result<T, StoreError>>;

/// A record, and the time at which it was read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The record, or `None` if there is none.
    pub record: Option<Record>,
    /// The store's clock when the record was read. In a [`CasResult::Conflict`] it may run ahead, like
    /// [`Store::now`](crate::Store::now); otherwise it is the clock itself.
    pub now: Timestamp,
}

/// A write, and the conditions under which a store makes it.
#[derive(Clone, Copy, Debug)]
pub struct ConditionalWrite<'a> {
    /// The record that must be stored under the key, or `None` if there must be none.
    pub expected: Option<&'a Record>,
    /// The record to store.
    pub next: &'a Record,
    /// The time that the store's clock must have reached.
    pub not_before: Option<Timestamp>,
    /// The time that the store's clock must not have reached.
    pub not_after: Option<Timestamp>,
    /// Whether the write delivers an outcome, whose time is that of the write: see [`ConditionalWrite::stamped`].
    pub is_outcome: bool,
}

/// A [`ConditionalWrite`] that a store can keep. It borrows nothing.
#[derive(Clone, Debug)]
pub struct OwnedConditionalWrite {
    expected: Option<Record>,
    next: Record,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    is_outcome: bool,
}

impl OwnedConditionalWrite {
    /// Returns the write in its borrowed form.
    #[must_use]
    pub fn borrow(&self) -> ConditionalWrite<'_> {
        let Self { expected, next, not_before, not_after, is_outcome } = self;
        ConditionalWrite {
            expected: expected.as_ref(),
            next,
            not_before: *not_before,
            not_after: *not_after,
            is_outcome: *is_outcome,
        }
    }
}

impl ConditionalWrite<'_> {
    /// Returns the write in a form that can be kept. Raises two reference counts.
    #[must_use]
    pub fn to_owned(&self) -> OwnedConditionalWrite {
        let Self { expected, next, not_before, not_after, is_outcome } = *self;
        OwnedConditionalWrite {
            expected: expected.cloned(),
            next: next.clone(),
            not_before,
            not_after,
            is_outcome,
        }
    }

    /// Returns whether `current` is the expected record. A store of bytes may compare encoded records instead.
    #[must_use]
    pub fn matches(&self, current: Option<&Record>) -> bool {
        match (self.expected, current) {
            (None, None) => true,
            (Some(expected), Some(current)) => expected.same_write(current),
            _ => false,
        }
    }

    /// Returns whether the new record's token exceeds `purged`, the highest token of any record that the store has dropped.
    /// Always true if a record is replaced, because the new token exceeds that record's.
    #[must_use]
    pub fn is_above_floor(&self, purged: Option<Token>) -> bool {
        self.expected.is_some() || purged.is_none_or(|purged| self.next.token() > purged)
    }

    /// Returns whether the write depends on the clock. If not, the store need not read it.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.is_outcome || self.window().is_timed()
    }

    /// Returns the record to store in place of `next` if the clock is at `now` in the atomic step of the write. Returns `None` if
    /// `next` is right as it is: it carries no outcome, or the outcome was decided within a millisecond of `now`.
    ///
    /// Time passes between a decision and its write. A store that cannot replace the record in its atomic step stores
    /// `next`; the engine limits the difference by the time window of the write.
    #[must_use]
    pub fn stamped(&self, now: Timestamp) -> Option<Record> {
        if self.is_outcome { self.next.stamped(now) } else { None }
    }

    /// Returns whether the write may be made at `now`.
    #[must_use]
    pub fn in_window(&self, now: Timestamp) -> bool {
        self.window().is_open(now)
    }

    fn window(&self) -> Window {
        Window { not_before: self.not_before, not_after: self.not_after }
    }
}

/// The times between which a write may be made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

impl Window {
    /// Returns whether it depends on the clock.
    pub(crate) fn is_timed(self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
    }

    pub(crate) fn is_open(self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|at| now >= at) && self.not_after.is_none_or(|at| now < at)
    }
}

/// The answer to a conditional write.
#[derive(Clone, Debug)]
pub enum CasResult {
    /// The record is stored, as durably as the store declares.
    Written,
    /// This record is stored in place of the given one. [`ConditionalWrite::stamped`] returned it.
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
