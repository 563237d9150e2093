//! A store under a retry loop, for tests of the loop and of failures below it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lessor_core::store::{
    CasResult, ChangeNotifier, Closing, ConditionalWrite, Execution, Operation, OwnedOperation, Page, Purged,
    Reply, Scan, Snapshot,
};
use lessor_core::{Cas, CompareAndSwap, Durability, Key, Store, StoreError, Timestamp};

/// Performs one plain conditional write on a store.
pub fn swap(store: &(impl Store + ?Sized), key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
    OwnedOperation::swap(key.clone(), change.to_owned()).send(store).map(|executed| {
        let unexpected = || StoreError::incompatible("the answer is not that of a swap");
        executed?.into_swap().ok_or_else(unexpected)
    })
}

/// A modification of some calls that a retry loop makes. By default, every method forwards the
/// call. A swap is forwarded as a plain conditional write.
///
/// A test implements the methods that it modifies, and wraps the layer in [`Retrying`] to get a
/// [`Store`].
#[expect(missing_docs, reason = "the methods are those of `CompareAndSwap` and `Store`")]
pub trait SwapLayer: Send + Sync + 'static {
    /// Returns the store that calls are forwarded to.
    fn below(&self) -> &Arc<dyn Store>;

    fn now(&self) -> Reply<Timestamp> {
        self.below().now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.below().load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        swap(&**self.below(), key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.below().scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.below().purge(limit)
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.below().close(closing)
    }

    /// Subscribes to the store below, which notifies the engines.
    fn subscribe(&self, notifier: ChangeNotifier) {
        self.below().subscribe(notifier);
    }
}

/// A store that executes operations by a retry loop over a [`SwapLayer`], to which it dereferences.
///
/// The in-memory store executes each operation in one step. Under a retry loop, a test can make
/// single steps fail.
pub struct Retrying<L>(Cas<Swaps<L>>);

impl<L: SwapLayer> Retrying<L> {
    /// Returns a store over `layer`.
    pub fn over(layer: L) -> Self {
        Self(Cas::new(Swaps(layer)))
    }
}

impl<L: SwapLayer> Deref for Retrying<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0.inner().0
    }
}

struct Swaps<L>(L);

impl<L: SwapLayer> CompareAndSwap for Swaps<L> {
    fn now(&self) -> Reply<Timestamp> {
        self.0.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.0.load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.0.compare_and_swap(key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.0.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.0.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.0.below().durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.0.close(closing)
    }
}

impl<L: SwapLayer> Store for Retrying<L> {
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
        self.0.inner().0.subscribe(notifier);
    }
}

impl<L: SwapLayer> fmt::Debug for Swaps<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swaps").field(self.0.below()).finish()
    }
}

impl<L: SwapLayer> fmt::Debug for Retrying<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Retrying").field(self.below()).finish()
    }
}
