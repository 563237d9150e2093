//! The service written by hand over moka, a cache that evicts by itself.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lessor_contention::{Forget, LeaseService, Reply};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::maps::Entry;

pub(super) struct Moka(Cache<String, Arc<Mutex<Entry>>, RandomState>);

impl Moka {
    /// With a retention, a key is evicted that long after its acquire, completed or not. Without
    /// one, no key is.
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let mut builder = Cache::builder();
        if let Some(retention) = retention {
            builder = builder.time_to_live(retention);
        }
        Self(builder.build_with_hasher(RandomState::default()))
    }
}

/// The lease of a key. It keeps the entry, which may be evicted.
pub(super) struct Held {
    lease_id: u128,
    entry: Arc<Mutex<Entry>>,
}

impl LeaseService for Moka {
    type Lease = Held;
    type Result = Arc<[u8]>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Held, Arc<[u8]>> {
        #[expect(
            clippy::unwrap_or_default,
            reason = "or_default is not atomic: two callers get an entry each"
        )]
        let entry = self.0.entry_by_ref(key).or_insert_with(Arc::default).into_value();
        let reply = entry.lock().acquire(ttl);
        match reply {
            Reply::Acquired(lease_id) => Reply::Acquired(Held { lease_id, entry }),
            Reply::InProgress => Reply::InProgress,
            Reply::Completed(result) => Reply::Completed(result),
        }
    }

    async fn extend(&self, _: &str, held: &mut Held, ttl: Duration) {
        held.entry.lock().extend(held.lease_id, ttl);
    }

    async fn complete(&self, _: &str, held: Held, result: &[u8]) {
        held.entry.lock().complete(held.lease_id, result, None);
    }

    async fn wait(&self, key: &str) -> Arc<[u8]> {
        let entry = self.0.get(key).expect("the key is held");
        loop {
            let done = entry.lock().result_or_notify().map_err(Notify::notified_owned);
            match done {
                Ok(result) => return result,
                Err(done) => done.await,
            }
        }
    }
}

impl Forget for Moka {
    async fn forget(&self, key: &str) -> bool {
        let is_completed = |entry: Arc<Mutex<Entry>>| entry.lock().is_completed();
        self.0.get(key).is_some_and(is_completed) && self.0.remove(key).is_some()
    }
}
