//! Lease services written by hand over a map. An entry is a holder with an expiry, or the result
//! that takes its place. They do the minimum: no fencing token, no failure, and retention only
//! where that is measured.
//!
//! Each map is used in the fastest way that it offers: an entry that exists is found without an
//! owned key, and a reply that changes nothing takes a shared lock where the map has one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use lessor_contention::{Forget, LeaseService, Reply};
use parking_lot::Mutex;
use quick_cache::sync::{Cache, EntryAction, EntryResult, GuardResult};
use quick_cache::{OptionsBuilder, UnitWeighter};
use tokio::sync::Notify;

use crate::work::Purger;

/// The number of shards. The same as lessor's: the more there are, the shorter is the growth of
/// one.
pub(super) const SHARDS: usize = 128;

pub(super) type EntryReply = Reply<u128, Arc<[u8]>>;

/// The state of a key.
#[derive(Clone, Default)]
pub(super) enum Entry {
    #[default]
    Free,
    Held {
        lease_id: u128,
        expires_at: Instant,
        /// Set by the first waiting caller.
        done: Option<Arc<Notify>>,
    },
    Completed {
        result: Arc<[u8]>,
        keep_until: Option<Instant>,
    },
}

impl Entry {
    /// Returns the entry of a new lease, and its id.
    fn grant(now: Instant, ttl: Duration) -> (Self, u128) {
        let lease_id = fastrand::u128(..);
        (Self::Held { lease_id, expires_at: now + ttl, done: None }, lease_id)
    }

    /// Returns the reply to a request that changes nothing. `None` if the key can be acquired.
    fn reply(&self) -> Option<EntryReply> {
        match self {
            Self::Completed { result, .. } => Some(Reply::Completed(result.clone())),
            Self::Held { expires_at, .. } if Instant::now() < *expires_at => Some(Reply::InProgress),
            Self::Held { .. } | Self::Free => None,
        }
    }

    pub(super) fn acquire(&mut self, ttl: Duration) -> EntryReply {
        if let Self::Completed { result, .. } = self {
            return Reply::Completed(result.clone());
        }
        let now = Instant::now();
        if let Self::Held { expires_at, .. } = self
            && now < *expires_at
        {
            return Reply::InProgress;
        }
        let (held, lease_id) = Self::grant(now, ttl);
        *self = held;
        Reply::Acquired(lease_id)
    }

    pub(super) fn extend(&mut self, by: u128, ttl: Duration) {
        let now = Instant::now();
        match self {
            Self::Held { lease_id, expires_at, .. } if *lease_id == by && now < *expires_at => {
                *expires_at = now + ttl;
            }
            _ => panic!("the caller is not the holder"),
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
            _ => panic!("the caller is not the holder"),
        }
    }

    /// Returns the result, or the notification for its completion.
    pub(super) fn result_or_notify(&mut self) -> Result<Arc<[u8]>, Arc<Notify>> {
        match self {
            Self::Completed { result, .. } => Ok(result.clone()),
            Self::Held { done, .. } => Err(done.get_or_insert_default().clone()),
            Self::Free => panic!("the key is not held"),
        }
    }

    pub(super) fn is_completed(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }

    fn is_kept(&self, now: Instant) -> bool {
        !matches!(self, Self::Completed { keep_until: Some(until), .. } if *until <= now)
    }
}

pub(super) trait Map: Default + Send + Sync + 'static {
    /// Replies to a request, and inserts an entry if there is none.
    fn acquire(&self, key: &str, ttl: Duration) -> EntryReply;

    /// Calls `update` with the entry of `key`, which exists.
    fn update<T>(&self, key: &str, update: impl FnOnce(&mut Entry) -> T) -> T;

    /// Removes the entry if it is completed. Returns whether it was.
    fn remove_completed(&self, key: &str) -> bool;

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool);
}

/// dashmap with foldhash.
pub(super) struct Dash(DashMap<String, Entry, RandomState>);

impl Default for Dash {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS))
    }
}

impl Map for Dash {
    fn acquire(&self, key: &str, ttl: Duration) -> EntryReply {
        // The shared lock is released before the exclusive one is taken.
        let reply = self.0.get(key).map(|entry| entry.reply());
        match reply {
            Some(Some(reply)) => reply,
            Some(None) if let Some(mut entry) = self.0.get_mut(key) => entry.acquire(ttl),
            _ => self.0.entry(key.to_owned()).or_default().acquire(ttl),
        }
    }

    fn update<T>(&self, key: &str, update: impl FnOnce(&mut Entry) -> T) -> T {
        update(&mut self.0.get_mut(key).expect("the key was acquired"))
    }

    fn remove_completed(&self, key: &str) -> bool {
        self.0.remove_if(key, |_, entry| entry.is_completed()).is_some()
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.retain(|_, entry| is_kept(entry));
    }
}

/// scc's hash map with foldhash.
#[derive(Default)]
pub(super) struct Scc(scc::HashMap<String, Entry, RandomState>);

impl Map for Scc {
    fn acquire(&self, key: &str, ttl: Duration) -> EntryReply {
        match self.0.read_sync(key, |_, entry| entry.reply()) {
            Some(Some(reply)) => reply,
            Some(None) if let Some(reply) = self.0.update_sync(key, |_, entry| entry.acquire(ttl)) => reply,
            _ => self.0.entry_sync(key.to_owned()).or_default().get_mut().acquire(ttl),
        }
    }

    fn update<T>(&self, key: &str, update: impl FnOnce(&mut Entry) -> T) -> T {
        self.0.update_sync(key, |_, entry| update(entry)).expect("the key was acquired")
    }

    fn remove_completed(&self, key: &str) -> bool {
        self.0.remove_if_sync(key, |entry| entry.is_completed()).is_some()
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.retain_sync(|_, entry| is_kept(entry));
    }
}

/// A lock around the standard library's map, with foldhash.
#[derive(Default)]
pub(super) struct Locked(Mutex<HashMap<String, Entry, RandomState>>);

impl Map for Locked {
    fn acquire(&self, key: &str, ttl: Duration) -> EntryReply {
        let mut map = self.0.lock();
        match map.get_mut(key) {
            Some(entry) => entry.acquire(ttl),
            None => map.entry(key.to_owned()).or_default().acquire(ttl),
        }
    }

    fn update<T>(&self, key: &str, update: impl FnOnce(&mut Entry) -> T) -> T {
        update(self.0.lock().get_mut(key).expect("the key was acquired"))
    }

    fn remove_completed(&self, key: &str) -> bool {
        let mut map = self.0.lock();
        let is_completed = map.get(key).is_some_and(Entry::is_completed);
        is_completed && map.remove(key).is_some()
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.lock().retain(|_, entry| is_kept(entry));
    }
}

/// quick_cache with foldhash, and a capacity that no run reaches: an evicted key would be granted
/// twice.
pub(super) struct Quick(Cache<String, Entry, UnitWeighter, RandomState>);

/// The expected number of entries, which the cache takes as a hint.
const ENTRIES: usize = 1 << 20;

impl Default for Quick {
    fn default() -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(ENTRIES)
            .weight_capacity(u64::MAX >> 16)
            .ghost_allocation(0.0)
            .shards(SHARDS)
            .build()
            .expect("the options are complete");
        Self(Cache::with_options(options, UnitWeighter, RandomState::default(), Default::default()))
    }
}

impl Map for Quick {
    fn acquire(&self, key: &str, ttl: Duration) -> EntryReply {
        let guard = match self.0.get_value_or_guard(key, None) {
            GuardResult::Guard(guard) => guard,
            GuardResult::Timeout => unreachable!("there is no timeout"),
            GuardResult::Value(entry) => match entry.reply() {
                Some(reply) => return reply,
                None => match self.0.entry(key, None, |_, entry| EntryAction::Retain(entry.acquire(ttl))) {
                    EntryResult::Retained(reply) => return reply,
                    EntryResult::Vacant(guard) => guard,
                    _ => unreachable!("the entry is retained, without a timeout"),
                },
            },
        };
        let (held, lease_id) = Entry::grant(Instant::now(), ttl);
        match guard.insert(held) {
            Ok(()) => Reply::Acquired(lease_id),
            Err(_) => unreachable!("nobody replaces or removes a key that is being inserted"),
        }
    }

    fn update<T>(&self, key: &str, update: impl FnOnce(&mut Entry) -> T) -> T {
        match self.0.entry(key, None, |_, entry| EntryAction::Retain(update(entry))) {
            EntryResult::Retained(updated) => updated,
            _ => panic!("the key was acquired"),
        }
    }

    fn remove_completed(&self, key: &str) -> bool {
        self.0.remove_if(key, Entry::is_completed).is_some()
    }

    fn retain(&self, is_kept: impl Fn(&Entry) -> bool) {
        self.0.retain(|_, entry| is_kept(entry));
    }
}

/// A service over a map.
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

    async fn acquire(&self, key: &str, ttl: Duration) -> EntryReply {
        self.map.acquire(key, ttl)
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.map.update(key, |entry| entry.extend(*by, ttl));
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.map.update(key, |entry| entry.complete(by, result, self.retention));
    }

    async fn wait(&self, key: &str) -> Arc<[u8]> {
        loop {
            // The notification is registered under the entry's lock, so no completion is missed.
            let done = self.map.update(key, |entry| entry.result_or_notify().map_err(Notify::notified_owned));
            match done {
                Ok(result) => return result,
                Err(done) => done.await,
            }
        }
    }
}

impl<M: Map> Forget for ByHand<M> {
    async fn forget(&self, key: &str) -> bool {
        self.map.remove_completed(key)
    }
}
