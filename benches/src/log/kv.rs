//! A hand-written guard on an embedded key-value store: read the key, and if it is absent, write it
//! within a transaction. It implements the minimum.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lessor_contention::{LeaseService, Reply};

use super::{Filled, key, result};
use crate::work::Notifications;

/// An embedded key-value store.
pub(super) trait Store: Send + Sync + 'static {
    /// Passes the value of `key` to `with`.
    fn read<T>(&self, key: &str, with: impl FnOnce(Option<&[u8]>) -> T) -> T;

    /// Atomically replaces the value with what `change` returns, or keeps it if that is `None`.
    /// Durable as promised when it returns. `change` may be called repeatedly; the last call
    /// counts.
    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>);

    /// Writes all of `records`, durably, in as few transactions as practical.
    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>);
}

/// The number of records per transaction of [`Store::put_all`].
pub(super) const RECORDS_PER_TRANSACTION: usize = 10_000;

pub(super) struct ByHand<S>(S, Notifications);

const HELD: u8 = 0;
const COMPLETED: u8 = 1;

impl<S: Store> ByHand<S> {
    pub(super) fn new(store: S) -> Self {
        Self(store, Notifications::default())
    }

    fn current_reply(&self, key: &str) -> Option<Reply<u128, Vec<u8>>> {
        self.0.read(key, |record| record.and_then(reply_to))
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
        if let Some(reply) = self.current_reply(key) {
            return reply;
        }
        let lease_id = fastrand::u128(..);
        let granted = held(lease_id, ttl);
        // Another caller may have been faster.
        let reply = Cell::new(None);
        self.0.update(key, |record| {
            let found = record.and_then(reply_to);
            let grant = found.is_none().then(|| granted.clone());
            reply.set(found);
            grant
        });
        reply.into_inner().unwrap_or(Reply::Acquired(lease_id))
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.replace(key, *by, &held(*by, ttl));
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.replace(key, by, &completed(result));
        self.1.notify(key);
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
        match self.current_reply(key) {
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

/// Returns the answer for a later caller, or `None` if the lease has lapsed.
fn reply_to(record: &[u8]) -> Option<Reply<u128, Vec<u8>>> {
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
