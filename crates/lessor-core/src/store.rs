//! The contract between the engine and its store.

use std::fmt;
use std::sync::{Arc, Weak};

pub use crate::close::Closing;
use crate::codec::DecodeError;
use crate::key::Key;
pub use crate::notifier::{CallerWaker, Notifier, mark_own_thread};
pub use crate::operation::{Applied, Executed, Execution, Operation, OwnedOperation, RecordSlot};
use crate::pending::Pending;
pub use crate::pending::may_block;
use crate::record::{Record, Token};
pub use crate::subscribers::Subscribers;
use crate::time::Timestamp;
pub use crate::unconfirmed::Unconfirmed;

/// What a store answers: at once or later, and never borrowing the store.
pub type Reply<T> = Pending<'static, Result<T, StoreError>>;

/// Keeps records under their keys, and decides operations upon them. This is what an engine uses.
///
/// A store holds no lease rule: an [`Operation`] knows them all. Most authors implement [`CompareAndSwap`] instead, and wrap it in
/// [`Cas`](crate::Cas). A store implements `Store` itself if its records are in memory, or if it can lock a row.
///
/// # Contract
/// Implementations must uphold the following. The conformance suite of `lessor-testkit` checks each point.
/// - **Atomic**: [`execute`](Self::execute) applies the operation in one step, by the store's own clock at that step. It is
///   linearizable per key over all parties that share the records. Where a database commits after the step, a plain read in
///   between may still return the earlier record.
/// - **Durable**: `execute` returns once its write is as durable as [`durability`](Self::durability) says.
///   `load`, `scan` and an answer without a write never show a record that a crash could still undo.
/// - **One clock**: all parties that share the records share the clock. It never runs backwards, not over a restart either, and a
///   step of the wall clock does not move it. [`now`](Self::now) may be an estimate that runs ahead of the shared
///   clock; it never lags behind it.
/// - **Tokens rise over a purge**: where there is no record, [`Operation::apply`] gets the highest token of any record that the
///   store has dropped.
/// - **Whole or not at all**: a record is never seen in part, and comes back exactly as it was stored.
/// - **Honest errors**: [`StoreError::Unavailable`] and [`StoreError::Misconfigured`] only if nothing happened and nothing
///   will; [`StoreError::Indeterminate`] wherever that is not certain.
/// - **Cancel-safe**: a dropped reply leaves the write done or not done, never half done.
/// - **Notified**: after each write the store notifies the subscribed engines, except the only one. See [`Subscribers`].
///
/// No method has a default, so that a store which wraps another one passes every call on.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the store's clock. See the contract.
    fn now(&self) -> Reply<Timestamp>;

    /// Returns the record under `key`, even one whose retention has ended.
    fn load(&self, key: &Key) -> Reply<Seen>;

    /// Decides the operation upon the record under its key, and stores the result, in one atomic step.
    fn execute(&self, operation: &mut Operation<'_>) -> Execution;

    /// Returns records in key order, byte by byte, from a cursor on. Records that stay in place while a scan pages
    /// through them appear exactly once. A page's clock is not read after any of its records.
    fn scan(&self, query: Scan) -> Reply<Page>;

    /// Drops records whose [`purge_at`](Record::purge_at) the clock has reached. Looks at no more than about `limit` records, so
    /// that a call takes no longer the more records there are. The engine calls again while there are [`more`](Purged::more).
    fn purge(&self, limit: usize) -> Reply<Purged>;

    /// Returns what an acknowledged write survives.
    fn durability(&self) -> Durability;

    /// Closes the store for every engine over it: finishes the writes that are under way, does its housekeeping, and releases its
    /// files, locks and connections. Returns once all of that is released, with whether the housekeeping was done.
    ///
    /// Housekeeping stops in time for the store to be closed by [`Closing::deadline`]; nothing is lost by that. From the call on,
    /// other operations may fail with [`StoreError::Unavailable`]. A closed store can be closed again. A reply that is dropped
    /// stops nothing. A store that holds nothing returns `true` at once.
    fn close(&self, closing: &Closing) -> Reply<bool>;

    /// Takes an engine's notifier. The store calls it when another party changes a record. Notifications are only hints: waiters
    /// read again by themselves every few seconds.
    fn attach(&self, hints: Hints);
}

/// Keeps whole records under their keys, and replaces one if it is still the expected one. [`Cas`](crate::Cas) makes a [`Store`] of it.
///
/// # Contract
/// As that of [`Store`], except for the operations, and:
/// - **Atomic**: [`compare_and_swap`](Self::compare_and_swap) compares and writes in one step, linearizably per key over all
///   parties that share the records. It compares `not_before` and `not_after` with the clock itself.
/// - **Tokens rise over a purge**: a caller may have read the clock, and been suspended, before a record was granted,
///   finished and purged by others. So a change that expects nothing is refused with [`Swap::OutOfWindow`] unless its
///   token is above that of every record the store has dropped under any key: see [`Change::outruns`]. A store that does not
///   know the tokens it dropped may refuse every token that is older than any of them could be. The token is judged in the atomic
///   step that writes the record. A store that cannot do so, because the write may arrive late, has to judge the record by the time at
///   which it arrived, whenever it is read: a record whose token may have been undercut before it arrived was never granted, and no
///   `load`, `compare_and_swap` or `scan` ever shows it.
/// - **No retries**: the loop of [`Cas`](crate::Cas) is the only one.
///
/// A store that blocks, such as one over an embedded database, returns [`Pending::ready`]. One that does not returns a
/// future that needs no particular executor.
pub trait CompareAndSwap: fmt::Debug + Send + Sync + 'static {
    /// Returns the store's clock. See [`Store::now`].
    fn now(&self) -> Reply<Timestamp>;

    /// Returns the record under `key`, even one whose retention has ended.
    fn load(&self, key: &Key) -> Reply<Seen>;

    /// Puts `change.next` under `key`, if the record there is `change.expected` (see [`Change::expects`]) and the clock
    /// is in the window that the change names. A store that reads its clock in the same atomic step asks
    /// [`Change::stamped`] whether another record is to be stored in place of `change.next`.
    fn compare_and_swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap>;

    /// Returns records in key order. See [`Store::scan`].
    fn scan(&self, query: Scan) -> Reply<Page>;

    /// Drops records that are due. See [`Store::purge`].
    fn purge(&self, limit: usize) -> Reply<Purged>;

    /// Returns what an acknowledged write survives.
    fn durability(&self) -> Durability;

    /// Closes the store. See [`Store::close`].
    fn close(&self, closing: &Closing) -> Reply<bool>;
}

impl<S: CompareAndSwap + ?Sized> CompareAndSwap for Arc<S> {
    fn now(&self) -> Reply<Timestamp> {
        (**self).now()
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        (**self).load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        (**self).compare_and_swap(key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        (**self).scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        (**self).purge(limit)
    }

    fn durability(&self) -> Durability {
        (**self).durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        (**self).close(closing)
    }
}

impl OwnedOperation {
    /// Sends the operation to a store.
    pub fn send(&self, store: &(impl Store + ?Sized)) -> Reply<Executed> {
        match self.lend(|operation| store.execute(operation)) {
            (Execution::Done(_), executed) => Pending::ready(Ok(executed)),
            (Execution::Later(reply), _) => reply,
        }
    }
}

/// A record as it was at one instant.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The record, or `None` if there is none.
    pub record: Option<Record>,
    /// The store's clock when the record was read. With [`Swap::Conflict`] it may run ahead, like [`Store::now`]; else it is
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

/// What one call of [`Store::purge`] did.
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

/// What went wrong in a store, and what that says about the write.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing happened and nothing will. The cause can pass by itself, so the same call may succeed later.
    #[error("store is unavailable, nothing was changed: {reason}")]
    Unavailable {
        /// What the store knows about it.
        reason: String,
    },
    /// The write may have happened, or may happen yet. Read the record, or send the same operation again.
    #[error("the write may or may not have happened; send the same operation again to find out: {reason}")]
    Indeterminate {
        /// What the store knows about it.
        reason: String,
    },
    /// Nothing happened and nothing will, and the same call fails again until the configuration is changed: the path is a file,
    /// a permission is missing, the password is wrong, there is no such database. Trying again does not help.
    #[error("store cannot be used as it is configured, nothing was changed: {reason}")]
    Misconfigured {
        /// What does not work, and what to change.
        reason: String,
    },
    /// What is stored is damaged. The store refuses to guess.
    #[error("stored data is damaged at {place}: {reason}")]
    Corrupt {
        /// File and offset, or key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// There is no room. Nothing was changed.
    #[error("store is full, nothing was changed: {reason}")]
    Full {
        /// What ran out.
        reason: String,
    },
    /// The record is larger than the store can ever keep. Nothing was changed.
    #[error(
        "the record has {size} bytes, and the store keeps at most {limit}, nothing was changed; store the value elsewhere and keep a reference"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The data, the server or the library is of a version that does not fit.
    #[error("incompatible: {reason}")]
    Incompatible {
        /// What does not fit, and what would.
        reason: String,
    },
}

impl StoreError {
    /// The error for a record under `place` that could not be decoded.
    #[must_use]
    pub fn undecodable(place: impl Into<String>, error: DecodeError) -> Self {
        match error {
            DecodeError::NewerFormat { .. } | DecodeError::UnknownField { .. } => {
                Self::Incompatible { reason: format!("{} ({error})", place.into()) }
            }
            DecodeError::Damaged { .. } => Self::Corrupt { place: place.into(), reason: error.to_string() },
        }
    }
}

/// Who wants to hear that something changed behind the engine's back.
pub(crate) trait Listener: Send + Sync {
    fn changed(&self, key: &Key);
    fn clock_moved(&self);
}

/// A store's way to wake an engine's waiters. Cheap to clone; does not keep the engine alive.
#[derive(Clone)]
pub struct Hints(Weak<dyn Listener>);

impl Hints {
    pub(crate) fn new<L: Listener + 'static>(listener: &Arc<L>) -> Self {
        let listener: Weak<L> = Arc::downgrade(listener);
        Self(listener)
    }

    /// Somebody else may have changed the record under `key`.
    pub fn changed(&self, key: &Key) {
        if let Some(listener) = self.0.upgrade() {
            listener.changed(key);
        }
    }

    /// The store's clock made a step, or anything at all may have changed.
    pub fn clock_moved(&self) {
        if let Some(listener) = self.0.upgrade() {
            listener.clock_moved();
        }
    }

    /// Whether the engine is gone, so that the hints can be dropped.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hints")
    }
}
