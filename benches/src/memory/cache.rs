//! moka: the guard written by hand in a cache that takes care of itself.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lessor_contention::{LeaseService, Reply};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::maps::Entry;

pub(super) struct Moka(Cache<String, Arc<Mutex<Entry>>, RandomState>);

impl Moka {
    /// Without retention nothing is evicted. With it, what was acquired so long ago is, finished or not.
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let mut builder = Cache::builder();
        if let Some(retention) = retention {
            builder = builder.time_to_live(retention);
        }
        Self(builder.build_with_hasher(RandomState::default()))
    }
}

/// The entry stays its holder's, even if it is evicted.
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
        let told = entry.lock().acquire(ttl);
        match told {
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
        let entry = self.0.get(key).expect("somebody works on it");
        loop {
            let done = entry.lock().look().map_err(Notify::notified_owned);
            match done {
                Ok(result) => return result,
                Err(done) => done.await,
            }
        }
    }
}
