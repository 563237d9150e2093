//! The data that a store and its caller exchange.

use super::error::StoreError;
use crate::key::Key;
use crate::pending::Pending;
use crate::record::{Record, Token};
use crate::time::Timestamp;

/// What a store answers: at once or later, and never borrowing the store.
pub type Reply<T> = Pending<'static, Result<T, StoreError>>;

/// A record as it was at one instant.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The record, or `None` if there is none.
    pub record: Option<Record>,
    /// The store's clock when the record was read. With [`Swap::Conflict`] it may run ahead, like [`Store::now`](crate::Store::now); else it is
    /// the clock itself.
    pub now: Timestamp,
}

/// A write and what it depends on.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What must be stored now.
    pub expected: Option<&'a Record>,
    /// What is to be stored.
    pub next: &'a Record,
    /// The clock must have reached this.
    pub not_before: Option<Timestamp>,
    /// The clock must not have reached this.
    pub not_after: Option<Timestamp>,
    /// The change delivers an outcome. The outcome's time is that of the write: see [`Change::stamped`].
    pub is_outcome: bool,
}

/// A change that a store can keep until it gets to it.
#[derive(Clone, Debug)]
pub struct OwnedChange {
    expected: Option<Record>,
    next: Record,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    is_outcome: bool,
}

impl OwnedChange {
    /// The same change, borrowed.
    #[must_use]
    pub fn borrow(&self) -> Change<'_> {
        let Self { expected, next, not_before, not_after, is_outcome } = self;
        Change {
            expected: expected.as_ref(),
            next,
            not_before: *not_before,
            not_after: *not_after,
            is_outcome: *is_outcome,
        }
    }
}

impl Change<'_> {
    /// The same change, to be kept. Costs two reference counts.
    #[must_use]
    pub fn to_owned(&self) -> OwnedChange {
        let Self { expected, next, not_before, not_after, is_outcome } = *self;
        OwnedChange { expected: expected.cloned(), next: next.clone(), not_before, not_after, is_outcome }
    }

    /// Whether `current` is what the change expects to replace. A store of bytes may compare encoded records instead.
    #[must_use]
    pub fn expects(&self, current: Option<&Record>) -> bool {
        match (self.expected, current) {
            (None, None) => true,
            (Some(expected), Some(current)) => expected.same_write(current),
            _ => false,
        }
    }

    /// Whether the change's token is above `purged`, the highest token of any record that the store has dropped. A change
    /// that replaces a record always is: the machine saw that record's token.
    #[must_use]
    pub fn outruns(&self, purged: Option<Token>) -> bool {
        self.expected.is_some() || purged.is_none_or(|purged| self.next.token() > purged)
    }

    /// Whether the change depends on the clock. If not, a store need not read it.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.is_outcome || self.window().is_timed()
    }

    /// The record to store in place of `next` where the clock says `now` in the atomic step of the change. `None` if `next` is
    /// right as it is: it carries no outcome, or the outcome was decided within a millisecond of `now`.
    ///
    /// Time passes between a decision and its write. A store that cannot exchange the record in its atomic step stores
    /// `next`: the engine bounds the difference by the change's window.
    #[must_use]
    pub fn stamped(&self, now: Timestamp) -> Option<Record> {
        if self.is_outcome { self.next.stamped(now) } else { None }
    }

    /// Whether the change may be made at `now`.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.window().is_open(now)
    }

    fn window(&self) -> Window {
        Window { not_before: self.not_before, not_after: self.not_after }
    }
}

/// When a change may be made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

impl Window {
    /// Whether it depends on the clock.
    pub(crate) fn is_timed(self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
    }

    pub(crate) fn is_open(self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|at| now >= at) && self.not_after.is_none_or(|at| now < at)
    }
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Swap {
    /// It is stored, as durably as the store promises.
    Stored,
    /// The same, with this record in place of the change's: the one that [`Change::stamped`] returned.
    Stamped(Record),
    /// Something else is stored: this. Nothing was changed.
    Conflict(Seen),
    /// The record was the expected one, but the clock is outside of the change's window, or the change's token is not
    /// above those purged. Nothing was changed; the engine decides again by the time that comes with this.
    OutOfWindow(Seen),
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys behind this one.
    pub after: Option<Key>,
    /// At most so many, and at least one if there is any.
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
