//! Stores that modify some calls of another store.

use std::fmt;
use std::ops::Deref;

use lessor_core::store::{
    ChangeNotifier, Closing, Execution, Operation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{Durability, Key, Store, Timestamp};

/// A modification of some calls of a store. By default, every method forwards the call.
///
/// A test implements the methods that it modifies, and wraps the layer in [`Layered`] to get a
/// [`Store`].
#[expect(missing_docs, reason = "the methods are those of `Store`")]
pub trait Layer: Send + Sync + 'static {
    /// Returns the store that calls are forwarded to.
    fn below(&self) -> &dyn Store;

    fn now(&self) -> Reply<Timestamp> {
        self.below().now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.below().load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.below().execute(operation)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.below().scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.below().purge(limit)
    }

    fn durability(&self) -> Durability {
        self.below().durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.below().close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.below().subscribe(notifier);
    }
}

/// A store with a [`Layer`], to which it dereferences.
pub struct Layered<L>(pub L);

impl<L> Deref for Layered<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0
    }
}

impl<L: Layer> Store for Layered<L> {
    fn now(&self) -> Reply<Timestamp> {
        self.0.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.0.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.0.execute(operation)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.0.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.0.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.0.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.0.close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.0.subscribe(notifier);
    }
}

impl<L: Layer> fmt::Debug for Layered<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layered").field(&self.0.below()).finish()
    }
}
