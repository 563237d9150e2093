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

/// Keeps records under their keys and executes operations on them. An [`Engine`](crate::Engine)
/// works over one `Store`.
///
/// A store contains no lease rule; an [`Operation`] knows them all. Most authors implement
/// [`CompareAndSwap`] instead and wrap it in [`Cas`](crate::Cas). A store implements `Store`
/// directly if its records are in memory, or if it can lock a row.
///
/// # Contract
///
/// Implementations must uphold the following. The conformance suite of `lessor-testkit` finds most
/// violations, but not every race.
/// - **Atomic**: [`execute`](Self::execute) applies the operation in one step, with the store's
///   clock read in that step. Operations are linearizable per key over all parties that share the
///   records. If a database commits after the step, a plain read in between may still return the
///   earlier record.
/// - **Durable**: `execute` completes when its write is as durable as
///   [`durability`](Self::durability) declares. `load`, `scan` and an answer without a write never
///   show a record that a crash could still undo.
/// - **One clock**: all parties that share the records share the clock. It never runs backwards,
///   not even across a restart, and setting the wall clock does not move it. [`now`](Self::now) may
///   return an estimate that is ahead of the shared clock, but never one that is behind it.
/// - **Tokens rise across a purge**: if there is no record, [`Operation::apply`] receives the
///   highest token of all records that the store has purged.
/// - **Whole records**: a record is never visible in part, and it is returned exactly as it was
///   stored.
/// - **Honest errors**: [`StoreError::Unavailable`](crate::StoreError::Unavailable) and
///   [`StoreError::Misconfigured`](crate::StoreError::Misconfigured) mean that the write has not
///   happened and never will. In all other cases the error is
///   [`StoreError::Indeterminate`](crate::StoreError::Indeterminate).
/// - **Cancellation safety**: if a reply is dropped, the write happens completely or not at all.
/// - **Notifications**: after each write, the store notifies the subscribed engines, unless there
///   is only one. See [`Subscribers`](crate::store::Subscribers).
///
/// No method has a default implementation, so a store that wraps another one cannot forget to
/// forward a call.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, Key, Store};
/// use lessor_memory::MemoryStore;
///
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// let engine = Engine::new(Arc::clone(&store))?;
/// let _ = engine.acquire("invoice-42").wait()?;
/// // A store keeps whole records and knows nothing about leases.
/// let snapshot = store.load(&Key::new("invoice-42")?).wait()?;
/// assert!(snapshot.record.is_some());
/// # Ok::<(), lessor_core::Error>(())
/// ```
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the time of the store's clock, or an estimate that is ahead of it. See the contract.
    fn now(&self) -> Reply<Timestamp>;

    /// Returns the record under `key`, even if its retention has ended, and the store's time.
    fn load(&self, key: &Key) -> Reply<Snapshot>;

    /// Decides the operation on the record under its key and stores the result, in one atomic step.
    fn execute(&self, operation: &mut Operation<'_>) -> Execution;

    /// Returns up to [`Scan::limit`] records in key order (by bytes), beginning after a cursor.
    ///
    /// A record that exists during a whole scan over several pages appears exactly once. The clock
    /// reading of a page is not later than the reading of any of its records.
    fn scan(&self, query: Scan) -> Reply<Page>;

    /// Removes records whose [`purge_at`](crate::Record::purge_at) the clock has reached.
    ///
    /// Examines at most about `limit` records, so the duration of a call does not depend on the
    /// number of records. The engine calls again while there are [`more`](Purged::more).
    fn purge(&self, limit: usize) -> Reply<Purged>;

    /// Returns the kind of failure that an acknowledged write survives.
    fn durability(&self) -> Durability;

    /// Closes the store for all engines over it: completes the writes in progress, does its
    /// housekeeping, and releases its files, locks and connections. The reply arrives when all of
    /// them are released, and contains whether the housekeeping was completed.
    ///
    /// Housekeeping stops early enough for the store to be closed by [`Closing::deadline`]; no data
    /// is lost by that. After the call, other operations may fail with
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable). A closed store can be closed
    /// again. Dropping the reply does not stop the closing. A store without anything to release
    /// returns `true` immediately.
    fn close(&self, closing: &Closing) -> Reply<bool>;

    /// Adds the notifier of an engine. The store calls it when another party changes a record.
    ///
    /// Notifications are hints. If one is lost, waiters find the change at their next poll.
    fn subscribe(&self, notifier: ChangeNotifier);
}

/// Keeps whole records under their keys, and replaces a record if it is still the expected one.
/// [`Cas`](crate::Cas) turns it into a [`Store`].
///
/// # Contract
///
/// The contract of [`Store`], except for the operations, and in addition:
/// - **Atomic**: [`compare_and_swap`](Self::compare_and_swap) compares and writes in one step,
///   linearizably per key over all parties that share the records. In the same step it compares
///   `not_before` and `not_after` with the clock.
/// - **Tokens rise across a purge**: a caller may have read the clock and been suspended before
///   another grant was made, finished and purged. So a write that expects no record is rejected
///   with [`CasResult::Rejected`] unless its token is higher than those of all records that the
///   store has purged, under any key: see [`ConditionalWrite::is_above_floor`]. A store that does
///   not know the purged tokens may reject every token that is older than any of them could be.
///
///   The token is checked in the atomic step that writes the record. A store whose writes may
///   arrive late cannot do that. It has to check the record whenever it is read, by the time at
///   which the record arrived. A record that arrived after a higher token could have been purged
///   was never granted, and no `load`, `compare_and_swap` or `scan` may return it.
/// - **No retries**: only [`Cas`](crate::Cas) retries.
///
/// A store whose calls block, such as one over an embedded database, returns [`Pending::ready`].
/// Other stores return a future that does not depend on an executor.
///
/// # Examples
///
/// The example `custom_store.rs` of the crate `lessor` implements this trait in about seventy lines.
pub trait CompareAndSwap: fmt::Debug + Send + Sync + 'static {
    /// Returns the time of the store's clock, or an estimate that is ahead of it. See [`Store`].
    fn now(&self) -> Reply<Timestamp>;

    /// Returns the record under `key`, even if its retention has ended, and the store's time.
    fn load(&self, key: &Key) -> Reply<Snapshot>;

    /// Stores `change.next` under `key` if the current record is `change.expected` (see
    /// [`ConditionalWrite::matches`]) and the clock is within the time window of the change.
    ///
    /// A store that reads its clock in the same atomic step calls [`ConditionalWrite::stamped`],
    /// and stores the returned record, if any, instead of `change.next`.
    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult>;

    /// Returns records in key order. See [`Store::scan`].
    fn scan(&self, query: Scan) -> Reply<Page>;

    /// Removes records whose [`purge_at`](crate::Record::purge_at) the clock has reached. See
    /// [`Store::purge`].
    fn purge(&self, limit: usize) -> Reply<Purged>;

    /// Returns the kind of failure that an acknowledged write survives.
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
    /// Executes the operation on a store.
    pub fn send(&self, store: &(impl Store + ?Sized)) -> Reply<Executed> {
        match self.lend(|operation| store.execute(operation)) {
            (Execution::Done(_), executed) => Pending::ready(Ok(executed)),
            (Execution::Later(reply), _) => reply,
        }
    }
}
