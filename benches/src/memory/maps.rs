//! The guards that people write by hand: a map, an expiry, and the result in place of the lease once it is there.
//! They do the least that could be called the same: no fencing token, no failure, and retention only where it is measured.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use lessor_contention::{LeaseService, Reply};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::work::Purger;

/// As many as lessor has: the more there are, the shorter it takes while one of them grows.
pub(super) const SHARDS: usize = 128;

/// What stands under a key.
#[derive(Default)]
pub(super) enum Entry {
    #[default]
    Free,
    Held {
        lease_id: u128,
        expires_at: Instant,
        /// Made by the first who waits.
        done: Option<Arc<Notify>>,
    },
    Completed {
        result: Arc<[u8]>,
        keep_until: Option<Instant>,
    },
}

impl Entry {
    pub(super) fn acquire(&mut self, ttl: Duration) -> Reply<u128, Arc<[u8]>> {
        let now = Instant::now();
        match self {
            Self::Held { expires_at, .. } if now < *expires_at => Reply::InProgress,
            Self::Completed { result, .. } => Reply::Completed(result.clone()),
            Self::Free | Self::Held { .. } => {
                let lease_id = fastrand::u128(..);
                *self = Self::Held { lease_id, expires_at: now + ttl, done: None };
                Reply::Acquired(lease_id)
            }
        }
    }

    pub(super) fn extend(&mut self, by: u128, ttl: Duration) {
        let now = Instant::now();
        match self {
            Self::Held { lease_id, expires_at, .. } if *lease_id == by && now < *expires_at => {
                *expires_at = now + ttl;
            }
            _ => panic!("not the holder"),
        }
    }

    pub(super) fn complete(&mut self, by: u128, result: &[u8], retention: Option<Duration>) {
        let keep_until = retention.map(|retention| Instant::now() + retention);
        match self {
            Self::Held { lease_id, done, .. } if *lease_id == by => {
                let done = done.take();
                *self = Self::Completed { result: result.into(), keep_until };
                done.inspect(|done| done.notify_waiters());
            }
            _ => panic!("not the holder"),
        }
    }

    /// The result, or who tells when it is there.
    pub(super) fn look(&mut self) -> Result<Arc<[u8]>, Arc<Notify>> {
        match self {
            Self::Completed { result, .. } => Ok(result.clone()),
            Self::Held { done, .. } => Err(done.get_or_insert_default().clone()),
            Self::Free => panic!("nobody works on it"),
        }
    }

    fn is_kept(&self, now: Instant) -> bool {
        !matches!(self, Self::Completed { keep_until: Some(until), .. } if *until <= now)
    }
}

pub(super) trait Map: Default + Send + Sync + 'static {
    /// Shows `look` what is under `key`, which is [`Entry::Free`] if there was nothing.
    fn enter<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T;

    /// Shows `look` what is under `key`, where there is something.
    fn with<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T;

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool);
}

/// A dashmap with foldhash. What is there is found without a key of one's own.
pub(super) struct Dash(DashMap<String, Entry, RandomState>);

impl Default for Dash {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS))
    }
}

impl Map for Dash {
    fn enter<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        if let Some(mut there) = self.0.get_mut(key) {
            return look(&mut there);
        }
        look(&mut self.0.entry(key.to_owned()).or_default())
    }

    fn with<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        look(&mut self.0.get_mut(key).expect("acquired"))
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.retain(|_, entry| is_kept(entry));
    }
}

/// One lock around the standard library's map, with foldhash.
#[derive(Default)]
pub(super) struct Locked(Mutex<HashMap<String, Entry, RandomState>>);

impl Map for Locked {
    fn enter<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        let mut map = self.0.lock();
        match map.get_mut(key) {
            Some(there) => look(there),
            None => look(map.entry(key.to_owned()).or_default()),
        }
    }

    fn with<T>(&self, key: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        look(self.0.lock().get_mut(key).expect("acquired"))
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.lock().retain(|_, entry| is_kept(entry));
    }
}

pub(super) struct ByHand<M> {
    map: Arc<M>,
    retention: Option<Duration>,
    _purger: Option<Purger>,
}

impl<M: Map> ByHand<M> {
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let map = Arc::new(M::default());
        let purger = retention.map(|_| {
            let map = Arc::clone(&map);
            Purger::start(move || {
                let now = Instant::now();
                map.retain(|entry| entry.is_kept(now));
            })
        });
        Self { map, retention, _purger: purger }
    }
}

impl<M: Map> LeaseService for ByHand<M> {
    type Lease = u128;
    type Result = Arc<[u8]>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<u128, Arc<[u8]>> {
        self.map.enter(key, |entry| entry.acquire(ttl))
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.map.with(key, |entry| entry.extend(*by, ttl));
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.map.with(key, |entry| entry.complete(by, result, self.retention));
    }

    async fn wait(&self, key: &str) -> Arc<[u8]> {
        loop {
            // The notification counts from when it is made, which is before the holder can look for it.
            let done = self.map.with(key, |entry| entry.look().map_err(Notify::notified_owned));
            match done {
                Ok(result) => return result,
                Err(done) => done.await,
            }
        }
    }
}
