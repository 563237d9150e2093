//! The public store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lessor_core::store::{
    CasResult, ChangeNotifier, Closing, ConditionalWrite, Execution, Operation, Page, Purged, Reply, Scan,
    Snapshot,
};
use lessor_core::{Cas, CompareAndSwap, Durability, Key, Pending, Store, StoreError, Timestamp};
use parking_lot::Mutex;

use super::budget::Charge;
use super::encoded_change::EncodedChange;
use super::shared::Shared;
use crate::config::prefix::Prefix;
use crate::manager::connection_manager::ConnectionManager;
use crate::node::server_info::ServerInfo;

/// A store that keeps its records on a Redis server or cluster.
///
/// The store reconnects by itself after a failure. Dropping the store closes its connections.
///
/// # Cancel safety
/// A pending reply may be dropped at any time. A write that has been sent may still take effect.
/// Other calls on the same connection are not affected.
///
/// # Examples
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use lessor_core::Engine;
/// use lessor_redis::RedisStore;
///
/// let store = Arc::new(RedisStore::open("redis://127.0.0.1/0?prefix=my-app")?);
/// if let Some(server) = store.server() {
///     println!("connected to Redis {}", server.version);
/// }
/// let engine = Engine::new(store)?;
/// # let _ = engine;
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    shared: Arc<Shared>,
    cas: Cas<ServerSwaps>,
}

impl RedisStore {
    pub(crate) fn new(manager: Arc<ConnectionManager>, prefix: Prefix) -> Self {
        let shared = Arc::new(Shared {
            manager,
            prefix,
            budget: Arc::default(),
            next_purge: AtomicU64::new(0),
            purging: Mutex::default(),
        });
        let engines = Arc::clone(&shared.manager.context.invalidation.engines);
        let cas = Cas::with_subscribers(ServerSwaps(Arc::clone(&shared)), engines);
        Self { shared, cas }
    }

    /// Returns the properties that the server reported when the store last checked it: after
    /// connecting, and every two seconds from then on.
    ///
    /// Returns the properties of one of the nodes if the server is a cluster.
    #[must_use]
    pub fn server(&self) -> Option<ServerInfo> {
        self.shared.manager.context.server()
    }

    /// Returns how many times the store has reconnected to a server with another run id than
    /// before: the server was restarted, or another server has taken its place.
    ///
    /// If the server's persistence or replication is weak, leases and results may have been lost
    /// each time. Short losses of the connection do not count.
    #[must_use]
    pub fn server_changes(&self) -> u64 {
        self.shared.manager.context.server_changes()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        // A forked child has copies of the sockets, but not the thread that manages them.
        if self.shared.manager.check_process().is_ok() {
            self.shared.manager.close();
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { manager, prefix, .. } = &*self.shared;
        f.debug_struct("RedisStore").field("manager", manager).field("prefix", prefix).finish_non_exhaustive()
    }
}

/// The server as a store that compares and swaps.
#[derive(Debug)]
struct ServerSwaps(Arc<Shared>);

impl ServerSwaps {
    /// Reserves memory for a call whose records take `bytes` bytes.
    fn admit(&self, bytes: usize) -> Result<Charge, StoreError> {
        self.0.manager.check_process()?;
        self.0.budget.charge(bytes)
    }
}

impl CompareAndSwap for ServerSwaps {
    fn now(&self) -> Reply<Timestamp> {
        let manager = &self.0.manager;
        Pending::ready(manager.check_process().map(|()| manager.context.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let (shared, key) = (Arc::clone(&self.0), key.clone());
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(async move { shared.load(&key).await })),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let (shared, key, change) = (Arc::clone(&self.0), key.clone(), EncodedChange::new(change));
        let charge = match self.admit(change.records.capacity()) {
            Ok(charge) => charge,
            Err(error) => return Pending::ready(Err(error)),
        };
        Pending::later(async move {
            let _charge = charge;
            shared.write(&key, &change).await
        })
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(Arc::clone(&self.0).scan(query))),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(Arc::clone(&self.0).purge(limit))),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn durability(&self) -> Durability {
        Durability::Server
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        self.0.manager.close();
        Pending::ready(Ok(true))
    }
}

impl Store for RedisStore {
    fn now(&self) -> Reply<Timestamp> {
        self.cas.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.cas.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.cas.execute(operation)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.cas.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.cas.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.cas.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.cas.close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.cas.subscribe(notifier);
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<RedisStore>();
};
