//! The interface of a service that can be measured.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use lessor::{Acquisition, Engine, Error, Lease, View};

/// A service that grants leases on keys and replays the results of completed keys.
///
/// Operations are futures, so that one workload serves threads and tasks. A service that blocks
/// does so inside its futures, and is measured with threads only. A service that breaks the
/// contract of a method ends the measurement with a panic.
pub trait LeaseService: Send + Sync + 'static {
    /// The right to work on a key.
    type Lease: Send + 'static;
    /// The result of a completed key.
    type Result: AsRef<[u8]> + Send;

    /// Requests `key`. A lease lasts for `ttl` unless it is extended.
    fn acquire(
        &self,
        key: &str,
        ttl: Duration,
    ) -> impl Future<Output = Reply<Self::Lease, Self::Result>> + Send;

    /// Extends the lease on `key` to `ttl` from now.
    fn extend(&self, key: &str, lease: &mut Self::Lease, ttl: Duration) -> impl Future<Output = ()> + Send;

    /// Stores the result of `key`, which later requests receive.
    fn complete(&self, key: &str, lease: Self::Lease, result: &[u8]) -> impl Future<Output = ()> + Send;

    /// Waits for the result of `key`, which another caller holds.
    fn wait(&self, key: &str) -> impl Future<Output = Self::Result> + Send;

    /// Acquires all of `keys`, which are free, in the fastest way that the service has. Not
    /// measured.
    fn acquire_all(&self, keys: &[String], ttl: Duration) -> impl Future<Output = Vec<Self::Lease>> + Send {
        async move {
            let mut leases = Vec::with_capacity(keys.len());
            for key in keys {
                leases.push(self.acquire(key, ttl).await.acquired(key));
            }
            leases
        }
    }
}

/// A service that can remove completed keys.
pub trait Forget: LeaseService {
    /// Removes `key` if it is completed. Returns whether it was.
    fn forget(&self, key: &str) -> impl Future<Output = bool> + Send;
}

/// The reply to a request for a key.
pub enum Reply<L, R> {
    /// The caller holds the lease.
    Acquired(L),
    /// Another caller holds the lease.
    InProgress,
    /// The key is completed, with this result.
    Completed(R),
}

impl<L, R> Reply<L, R> {
    /// Returns the lease.
    ///
    /// # Panics
    /// If the reply is not [`Reply::Acquired`].
    #[must_use]
    pub fn acquired(self, key: &str) -> L {
        match self {
            Self::Acquired(lease) => lease,
            other => unreachable!("the reply for {key} has to be Acquired, and was {other:?}"),
        }
    }
}

impl<L, R> fmt::Debug for Reply<L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acquired(_) => "Acquired",
            Self::InProgress => "InProgress",
            Self::Completed(_) => "Completed",
        })
    }
}

/// Longer than any measurement.
const WAIT_LIMIT: Duration = Duration::from_secs(600);
/// The number of requests that are sent before the first reply is awaited.
const BATCH: usize = 4096;

#[expect(clippy::expect_used, reason = "a failed request ends the measurement")]
impl LeaseService for Engine {
    type Lease = Lease;
    type Result = Replayed;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Lease, Replayed> {
        match Engine::acquire(self, key).ttl(ttl).await.expect("acquire") {
            Acquisition::Acquired(lease) => Reply::Acquired(lease),
            Acquisition::InProgress(_) => Reply::InProgress,
            Acquisition::Completed(view) => Reply::Completed(Replayed(view)),
            other => unreachable!("{other:?}"),
        }
    }

    async fn extend(&self, _: &str, lease: &mut Lease, ttl: Duration) {
        lease.extend(ttl).await.expect("extend");
    }

    async fn complete(&self, _: &str, lease: Lease, result: &[u8]) {
        lease.complete_bytes(result).await.expect("complete");
    }

    async fn wait(&self, key: &str) -> Replayed {
        Replayed(self.wait_for(key, WAIT_LIMIT).await.expect("wait").expect("the key is held"))
    }

    /// Sends many requests at once, so that a store can combine them.
    async fn acquire_all(&self, keys: &[String], ttl: Duration) -> Vec<Lease> {
        let mut leases = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let sent: Vec<_> = batch.iter().map(|key| Engine::acquire(self, key).ttl(ttl).send()).collect();
            for request in sent {
                match request.await.expect("acquire") {
                    Acquisition::Acquired(lease) => leases.push(lease),
                    other => unreachable!("{other:?}"),
                }
            }
        }
        leases
    }
}

#[expect(clippy::expect_used, reason = "a failed request ends the measurement")]
impl Forget for Engine {
    async fn forget(&self, key: &str) -> bool {
        match Engine::forget(self, key).await {
            Err(Error::Busy { .. }) => false,
            reply => reply.expect("forget"),
        }
    }
}

/// The stored result that an engine returns.
#[derive(Debug)]
pub struct Replayed(View);

impl AsRef<[u8]> for Replayed {
    fn as_ref(&self) -> &[u8] {
        self.0.result_bytes().unwrap_or_default()
    }
}
