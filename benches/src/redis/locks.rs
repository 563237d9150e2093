//! rslock. It keeps no results: the next caller is granted the lock again.

use std::time::Duration;

use lessor_contention::{LeaseService, Reply};
use rslock::{Lock, LockError, LockManager};

pub(super) struct Locks(LockManager);

impl Locks {
    /// Does not retry.
    pub(super) fn new(url: &str) -> Self {
        let mut locks = LockManager::new(vec![url]);
        locks.set_retry(1, Duration::from_millis(1));
        Self(locks)
    }
}

impl LeaseService for Locks {
    type Lease = Lock;
    type Result = Vec<u8>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Lock, Vec<u8>> {
        match self.0.lock(key, ttl).await {
            Ok(lock) => Reply::Acquired(lock),
            Err(LockError::Unavailable) => Reply::InProgress,
            Err(error) => panic!("{error}"),
        }
    }

    async fn extend(&self, _: &str, lock: &mut Lock, ttl: Duration) {
        *lock = self.0.extend(lock, ttl).await.expect("extend");
    }

    async fn complete(&self, _: &str, lock: Lock, _: &[u8]) {
        self.0.unlock(&lock).await;
    }

    async fn wait(&self, _: &str) -> Vec<u8> {
        panic!("results are not supported")
    }
}
