//! The reference: a bare map and a log with group commit. It implements the minimum: no retention,
//! no fencing token, no failure, no waiter, no further segments, no compaction.

use std::collections::HashMap;
use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lessor_contention::{LeaseService, Reply};
use parking_lot::Mutex;

use super::disk::{COMPLETED, GRANTED, LogFile, frame, replay};
use super::group::{Commit, Ticket};
use super::{Filled, Promise, key, result};

const FILE: &str = "log";
const SIZE: u64 = 64 << 20;

pub(super) struct BareLog<C> {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    commit: C,
    folder: PathBuf,
}

type Refusal = Reply<u128, Arc<[u8]>>;
type Shard = HashMap<String, Entry, RandomState>;

struct Entry {
    /// The number that must be durable before the entry may be observed.
    number: u64,
    state: State,
}

enum State {
    Held { lease_id: u128, expires_at: Instant },
    Completed(Arc<[u8]>),
}

impl<C: Commit> BareLog<C> {
    /// Opens the log in `folder`, or creates one.
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let path = folder.join(FILE);
        let Ok(old) = File::open(&path) else {
            return Self::begin(folder, LogFile::create(&path, SIZE, promise));
        };
        let log = Self::begin(folder, LogFile::create(&folder.join("next"), 1, promise));
        replay(old, |key, body| log.recover(key, body));
        log
    }

    fn recover(&self, key: &str, body: &[u8]) {
        let mut shard = self.shard(key).lock();
        let state = match body.try_into() {
            // The lease has ended, since the process that held it has.
            Ok(id) => State::Held { lease_id: u128::from_le_bytes(id), expires_at: Instant::now() },
            Err(_) => State::Completed(body.into()),
        };
        match shard.get_mut(key) {
            Some(entry) => entry.state = state,
            None => {
                shard.insert(key.to_owned(), Entry { number: 0, state });
            }
        }
    }

    fn begin(folder: &Path, file: LogFile) -> Self {
        let shards = (0..64).map(|_| Mutex::default()).collect();
        let (hasher, folder) = (RandomState::default(), folder.to_owned());
        Self { shards, hasher, commit: C::new(file), folder }
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        // The lower bits of the hash choose the bucket in the shard.
        &self.shards[(hash >> 58) as usize]
    }

    /// Returns the lease id, and the ticket to wait for until the grant is durable.
    fn stage_grant(&self, key: &str, ttl: Duration) -> Result<(u128, Ticket), Refusal> {
        let mut shard = self.shard(key).lock();
        match shard.get(key) {
            // Callers must not observe what is not on the disk yet.
            Some(Entry { number, .. }) if !self.commit.group().is_durable(*number) => {
                return Err(Reply::InProgress);
            }
            Some(Entry { state: State::Completed(result), .. }) => {
                return Err(Reply::Completed(result.clone()));
            }
            Some(Entry { state: State::Held { expires_at, .. }, .. }) if *expires_at > Instant::now() => {
                return Err(Reply::InProgress);
            }
            _ => {}
        }
        let lease_id = fastrand::u128(..);
        let ticket = self.put_held(&mut shard, key, lease_id, ttl);
        Ok((lease_id, ticket))
    }

    fn put_held(&self, shard: &mut Shard, key: &str, lease_id: u128, ttl: Duration) -> Ticket {
        let ticket = self.commit.stage(|out: &mut Vec<u8>| frame(out, key, &lease_id.to_le_bytes(), GRANTED));
        let state = State::Held { lease_id, expires_at: Instant::now() + ttl };
        shard.insert(key.to_owned(), Entry { number: ticket.number, state });
        ticket
    }

    fn stage_extension(&self, key: &str, by: u128, ttl: Duration) -> Ticket {
        let mut shard = self.shard(key).lock();
        let entry = shard.get(key).expect("acquired");
        assert!(matches!(entry.state, State::Held { lease_id, .. } if lease_id == by));
        self.put_held(&mut shard, key, by, ttl)
    }

    fn stage_result(&self, key: &str, by: u128, result: &[u8]) -> Ticket {
        let mut shard = self.shard(key).lock();
        let entry = shard.get_mut(key).expect("acquired");
        assert!(matches!(entry.state, State::Held { lease_id, .. } if lease_id == by));
        let ticket = self.commit.stage(|out: &mut Vec<u8>| frame(out, key, result, COMPLETED));
        *entry = Entry { number: ticket.number, state: State::Completed(result.into()) };
        ticket
    }
}

impl<C: Commit> LeaseService for BareLog<C> {
    type Lease = u128;
    type Result = Arc<[u8]>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<u128, Arc<[u8]>> {
        match self.stage_grant(key, ttl) {
            Ok((lease_id, ticket)) => {
                self.commit.settle(ticket).await;
                Reply::Acquired(lease_id)
            }
            Err(reply) => reply,
        }
    }

    async fn extend(&self, key: &str, by: &mut u128, ttl: Duration) {
        self.commit.settle(self.stage_extension(key, *by, ttl)).await;
    }

    async fn complete(&self, key: &str, by: u128, result: &[u8]) {
        self.commit.settle(self.stage_result(key, by, result)).await;
    }

    async fn wait(&self, _: &str) -> Arc<[u8]> {
        panic!("waiting is not supported");
    }

    async fn acquire_all(&self, keys: &[String], ttl: Duration) -> Vec<u128> {
        let staged: Vec<_> = keys.iter().map(|key| self.stage_grant(key, ttl)).collect();
        let mut lease_ids = Vec::with_capacity(keys.len());
        for staged in staged {
            let (lease_id, ticket) = staged.unwrap_or_else(|reply| panic!("{reply:?}"));
            lease_ids.push(lease_id);
            self.commit.settle(ticket).await;
        }
        lease_ids
    }
}

impl<C: Commit> Filled for BareLog<C> {
    /// Writes a file with the exact size that the given number of cycles takes.
    fn fill(&self, count: u64) {
        let path = self.folder.join(FILE);
        std::fs::remove_file(&path).expect("the file was created");
        let mut file = LogFile::create(&path, count * (GRANTED + COMPLETED) as u64, Promise::Process);
        let mut bytes = Vec::new();
        for n in 0..count {
            let (key, result) = (key(n), result(n));
            frame(&mut bytes, &key, &fastrand::u128(..).to_le_bytes(), GRANTED);
            frame(&mut bytes, &key, &result, COMPLETED);
            self.shard(&key).lock().insert(key, Entry { number: 0, state: State::Completed(result.into()) });
            if bytes.len() > 1 << 20 || n + 1 == count {
                file.append(&bytes);
                bytes.clear();
            }
        }
    }

    fn shown(&self, key: &str) -> Option<Vec<u8>> {
        match &self.shard(key).lock().get(key)?.state {
            State::Completed(result) => Some(result.to_vec()),
            State::Held { .. } => None,
        }
    }
}
