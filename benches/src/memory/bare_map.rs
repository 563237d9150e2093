//! The reference: a map alone. It stores neither the holder of a key nor an expiry.

use std::sync::Arc;
use std::time::Duration;

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use lessor_contention::{Forget, LeaseService, Reply};

use super::maps::SHARDS;

pub(super) struct BareMap(DashMap<String, Option<Arc<[u8]>>, RandomState>);

impl Default for BareMap {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS))
    }
}

impl LeaseService for BareMap {
    type Lease = ();
    type Result = Arc<[u8]>;

    async fn acquire(&self, key: &str, _: Duration) -> Reply<(), Arc<[u8]>> {
        if let Some(there) = self.0.get(key) {
            return there.clone().map_or(Reply::InProgress, Reply::Completed);
        }
        match self.0.entry(key.to_owned()) {
            Entry::Vacant(slot) => {
                slot.insert(None);
                Reply::Acquired(())
            }
            Entry::Occupied(slot) => slot.get().clone().map_or(Reply::InProgress, Reply::Completed),
        }
    }

    async fn extend(&self, _: &str, (): &mut (), _: Duration) {
        panic!("it has no expiry");
    }

    async fn complete(&self, key: &str, (): (), result: &[u8]) {
        *self.0.get_mut(key).expect("acquired") = Some(result.into());
    }

    async fn wait(&self, _: &str) -> Arc<[u8]> {
        panic!("it has no notifications");
    }
}

impl Forget for BareMap {
    async fn forget(&self, key: &str) -> bool {
        self.0.remove_if(key, |_, result| result.is_some()).is_some()
    }
}
