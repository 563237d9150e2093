//! What is measured.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Lease, View};

/// Something that guards work by a key.
///
/// Operations are futures, so that one workload serves threads and tasks: whoever blocks does so in them and is measured on
/// threads only. One that does not hold what a method's documentation says ends the measurement with a panic.
pub trait Guard: Send + Sync + 'static {
    /// The right to do the work of a key.
    type Grant: Send + 'static;
    /// A result as it is replayed.
    type Result: AsRef<[u8]> + Send;

    /// Asks for `key`. A grant lasts for `ttl` unless it is extended.
    fn acquire(
        &self,
        key: &str,
        ttl: Duration,
    ) -> impl Future<Output = Told<Self::Grant, Self::Result>> + Send;

    /// Holds `key` for another `ttl` from now on.
    fn extend(&self, key: &str, grant: &mut Self::Grant, ttl: Duration) -> impl Future<Output = ()> + Send;

    /// Delivers the result, which is replayed from then on.
    fn complete(&self, key: &str, grant: Self::Grant, result: &[u8]) -> impl Future<Output = ()> + Send;

    /// Waits for the result of a key that somebody holds.
    fn wait(&self, key: &str) -> impl Future<Output = Self::Result> + Send;

    /// Acquires all of `keys`, which nobody holds, in whatever way is quickest. Not measured.
    fn hold_all(&self, keys: &[String], ttl: Duration) -> impl Future<Output = Vec<Self::Grant>> + Send {
        async move {
            let mut grants = Vec::with_capacity(keys.len());
            for key in keys {
                grants.push(self.acquire(key, ttl).await.granted(key));
            }
            grants
        }
    }
}

/// What an acquire came to.
pub enum Told<G, R> {
    /// The work is the caller's.
    Granted(G),
    /// Somebody else is at it.
    Refused,
    /// It was done before, with this result.
    Replayed(R),
}

impl<G, R> Told<G, R> {
    /// The grant.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn granted(self, key: &str) -> G {
        match self {
            Self::Granted(grant) => grant,
            other => unreachable!("{key} was to be granted, not {other:?}"),
        }
    }
}

impl<G, R> fmt::Debug for Told<G, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Granted(_) => "Granted",
            Self::Refused => "Refused",
            Self::Replayed(_) => "Replayed",
        })
    }
}

/// Longer than any measurement.
const PATIENCE: Duration = Duration::from_secs(600);

#[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
impl Guard for Engine {
    type Grant = Lease;
    type Result = Shown;

    async fn acquire(&self, key: &str, ttl: Duration) -> Told<Lease, Shown> {
        match Engine::acquire(self, key).ttl(ttl).await.expect("acquire") {
            Acquisition::Acquired(lease) => Told::Granted(lease),
            Acquisition::InProgress(_) => Told::Refused,
            Acquisition::Completed(view) => Told::Replayed(Shown(view)),
            other => unreachable!("{other:?}"),
        }
    }

    async fn extend(&self, _: &str, lease: &mut Lease, ttl: Duration) {
        lease.extend(ttl).await.expect("extend");
    }

    async fn complete(&self, _: &str, lease: Lease, result: &[u8]) {
        lease.complete_bytes(result).await.expect("complete");
    }

    async fn wait(&self, key: &str) -> Shown {
        Shown(self.wait_for(key, PATIENCE).await.expect("wait").expect("somebody works on it"))
    }

    /// All at once, so that a store can do many in one step.
    async fn hold_all(&self, keys: &[String], ttl: Duration) -> Vec<Lease> {
        let mut leases = Vec::with_capacity(keys.len());
        for some in keys.chunks(4096) {
            let asked: Vec<_> = some.iter().map(|key| Engine::acquire(self, key).ttl(ttl).send()).collect();
            for asked in asked {
                match asked.await.expect("acquire") {
                    Acquisition::Acquired(lease) => leases.push(lease),
                    other => unreachable!("{other:?}"),
                }
            }
        }
        leases
    }
}

/// A result that an engine replays.
#[derive(Debug)]
pub struct Shown(View);

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        self.0.result_bytes().unwrap_or_default()
    }
}
