//! The guard that people write by hand on an embedded key-value store: look, and if there is nothing, write within a
//! transaction. It does the least that could be called the same.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lessor_contention::{LeaseService, Reply};

use super::{Filled, key, result};
use crate::work::Bells;

/// An embedded key-value store.
pub(super) trait Store: Send + Sync + 'static {
    /// Shows `look` the value under `key`.
    fn read<T>(&self, key: &str, look: impl FnOnce(Option<&[u8]>) -> T) -> T;

    /// Atomically puts what `change` makes of the value, or leaves it if that is nothing, and is as durable as
    /// promised when it returns. `change` may be asked again; what it says last counts.
    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>);

    /// Puts all of `records`, durably, in as few transactions as is sensible.
    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>);
}

/// How many records one transaction of a [`Store::put_all`] should have.
pub(super) const AT_ONCE: usize = 10_000;

pub(super) struct ByHand<S>(S, Bells);

const HELD: u8 = 0;
const COMPLETED: u8 = 1;

impl<S: Store> ByHand<S> {
    pub(super) fn new(store: S) -> Self {
        Self(store, Bells::default())
    }

    fn look(&self, key: &str) -> Option<Reply<u128, Vec<u8>>> {
        self.0.read(key, |record| record.and_then(tell))
    }

    /// Replaces the record of the holder.
    fn replace(&self, key: &str, by: u128, next: &[u8]) {
        self.0.update(key, |record| match record {
            Some([HELD, rest @ ..]) if rest.starts_with(&by.to_le_bytes()) => Some(next.to_vec()),
            _ => panic!("not the holder"),
        });
    }
}

impl<S: Store> LeaseService for ByHand<S> {
    type Lease = u128;
    type Result = Vec<u8>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<u128, Vec<u8>> {
        if let Some(told) = self.look(key) {
            return told;
        }
        let lease_id = fastrand::u128(..);
        let granted = held(lease_id, ttl);
        // Somebody may have come first.
        let told = Cell::new(None);
        self.0.update(key, |record| {
            let there = record.and_then(tell);
            let grant = there.is_none().then(|| granted.clone());
            told.set(there);
            grant
        });
        told.into_inner().unwrap_or(Reply::Acquired(lease_id))
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.replace(key, *by, &held(*by, ttl));
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.replace(key, by, &completed(result));
        self.1.ring(key);
    }

    async fn wait(&self, key: &str) -> Vec<u8> {
        self.1.wait(key, || self.shown(key)).await
    }

    async fn acquire_all(&self, keys: &[String], ttl: Duration) -> Vec<u128> {
        let lease_ids: Vec<u128> = keys.iter().map(|_| fastrand::u128(..)).collect();
        self.0
            .put_all(keys.iter().zip(&lease_ids).map(|(key, lease_id)| (key.clone(), held(*lease_id, ttl))));
        lease_ids
    }
}

impl<S: Store> Filled for ByHand<S> {
    fn fill(&self, count: u64) {
        self.0.put_all((0..count).map(|n| (key(n), completed(&result(n)))));
    }

    fn shown(&self, key: &str) -> Option<Vec<u8>> {
        match self.look(key) {
            Some(Reply::Completed(result)) => Some(result),
            _ => None,
        }
    }
}

fn held(lease_id: u128, ttl: Duration) -> Vec<u8> {
    let until = (now() + ttl).as_micros() as u64;
    [&[HELD][..], &lease_id.to_le_bytes(), &until.to_le_bytes()].concat()
}

fn completed(result: &[u8]) -> Vec<u8> {
    [&[COMPLETED][..], result].concat()
}

/// What a later caller is told; `None` if the lease has run out.
fn tell(record: &[u8]) -> Option<Reply<u128, Vec<u8>>> {
    match record {
        [COMPLETED, result @ ..] => Some(Reply::Completed(result.to_vec())),
        [HELD, rest @ ..] => {
            let until = u64::from_le_bytes(rest[16..].try_into().expect("a time"));
            (Duration::from_micros(until) > now()).then_some(Reply::InProgress)
        }
        _ => panic!("not a record"),
    }
}

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock")
}
