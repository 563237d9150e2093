//! The traits that a store implements.

use std::fmt;
use std::sync::Arc;

use super::notifier::ChangeNotifier;
use super::types::{CasResult, Durability, Page, Purged, Reply, Scan};
use crate::data::key::Key;
use crate::data::snapshot::Snapshot;
use crate::data::time::Timestamp;
use crate::data::write::ConditionalWrite;
use crate::store::closing::Closing;
use crate::store::operation::{Executed, Execution, Operation, OwnedOperation};
use crate::sync::pending::Pending;

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
/// - **Honest errors**: [`StoreError::Unavailable`](crate::StoreError::Unavailable) and [`StoreError::Misconfigured`](crate::StoreError::Misconfigured) only if nothing happened and nothing
///   will; [`StoreError::Indeterminate`](crate::StoreError::Indeterminate) wherever that is not certain.
/// - **Cancel-safe**: a dropped reply leaves the write done or not done, never half done.
/// - **Notified**: after each write the store notifies the subscribed engines, except the only one. See [`Subscribers`](crate::store::Subscribers).
///
/// No method has a default, so that a store which wraps another one passes every call on.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the store's clock. See the contract.
    fn now(&self) -> Reply<Timestamp>;

    /// Returns the record under `key`, even one whose retention has ended.
    fn load(&self, key: &Key) -> Reply<Snapshot>;

    /// Decides the operation upon the record under its key, and stores the result, in one atomic step.
    fn execute(&self, operation: &mut Operation<'_>) -> Execution;

    /// Returns records in key order, byte by byte, from a cursor on. Records that stay in place while a scan pages
    /// through them appear exactly once. A page's clock is not read after any of its records.
    fn scan(&self, query: Scan) -> Reply<Page>;

    /// Drops records whose [`purge_at`](crate::Record::purge_at) the clock has reached. Looks at no more than about `limit` records, so
    /// that a call takes no longer the more records there are. The engine calls again while there are [`more`](Purged::more).
    fn purge(&self, limit: usize) -> Reply<Purged>;

    /// Returns what an acknowledged write survives.
    fn durability(&self) -> Durability;

    /// Closes the store for every engine over it: finishes the writes that are under way, does its housekeeping, and releases its
    /// files, locks and connections. Returns once all of that is released, with whether the housekeeping was done.
    ///
    /// Housekeeping stops in time for the store to be closed by [`Closing::deadline`]; nothing is lost by that. From the call on,
    /// other operations may fail with [`StoreError::Unavailable`](crate::StoreError::Unavailable). A closed store can be closed again. A reply that is dropped
    /// stops nothing. A store that holds nothing returns `true` at once.
    fn close(&self, closing: &Closing) -> Reply<bool>;

    /// Takes an engine's notifier. The store calls it when another party changes a record. Notifications are only hints: waiters
    /// read again by themselves every few seconds.
    fn subscribe(&self, notifier: ChangeNotifier);
}

/// Keeps whole records under their keys, and replaces one if it is still the expected one. [`Cas`](crate::Cas) makes a [`Store`] of it.
///
/// # Contract
/// As that of [`Store`], except for the operations, and:
/// - **Atomic**: [`compare_and_swap`](Self::compare_and_swap) compares and writes in one step, linearizably per key over all
///   parties that share the records. It compares `not_before` and `not_after` with the clock itself.
/// - **Tokens rise over a purge**: a caller may have read the clock, and been suspended, before a record was granted,
///   finished and purged by others. So a change that expects nothing is refused with [`CasResult::Rejected`] unless its
///   token is above that of every record the store has dropped under any key: see [`ConditionalWrite::is_above_floor`]. A store that does not
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
    fn load(&self, key: &Key) -> Reply<Snapshot>;

    /// Puts `change.next` under `key`, if the record there is `change.expected` (see [`ConditionalWrite::matches`]) and the clock
    /// is in the window that the change names. A store that reads its clock in the same atomic step asks
    /// [`ConditionalWrite::stamped`] whether another record is to be stored in place of `change.next`.
    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult>;

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

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        (**self).load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
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
