//! moka: the guard written by hand in a cache that takes care of itself.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lessor_testkit::contention::{Guard, Told};
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

    fn there(&self, key: &str) -> Arc<Mutex<Entry>> {
        self.0.get(key).expect("acquired")
    }
}

impl Guard for Moka {
    type Grant = u128;
    type Result = Arc<[u8]>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Told<u128, Arc<[u8]>> {
        #[expect(
            clippy::unwrap_or_default,
            reason = "or_default is not atomic: two callers get an entry each"
        )]
        let entry = self.0.entry_by_ref(key).or_insert_with(Arc::default);
        entry.into_value().lock().acquire(ttl)
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.there(key).lock().extend(*by, ttl);
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.there(key).lock().complete(by, result, None);
    }

    async fn wait(&self, key: &str) -> Arc<[u8]> {
        let entry = self.there(key);
        loop {
            let done = entry.lock().look().map_err(Notify::notified_owned);
            match done {
                Ok(result) => return result,
                Err(done) => done.await,
            }
        }
    }
}
