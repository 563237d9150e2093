//! The floor: a bare map and a log with group commit. It does the least that could be called the same: no retention, no
//! fencing token, no failure, no waiter, no next segment, no compaction.

use std::collections::HashMap;
use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Promise;
use super::disk::{COMPLETED, GRANTED, LogFile, frame, replay};
use super::group::{Commit, Ticket, Writer};
use crate::flight::AsyncGuard;
use crate::report::Measure;
use crate::{Guard, Receipt, TTL, Told, key};

pub(super) const LEADER: &str = "leader";
pub(super) const WRITER: &str = "writer";
pub(super) const MEASURE: Measure = Measure { heading: "of floor", names: &[LEADER, WRITER] };

const FILE: &str = "log";
const SIZE: u64 = 64 << 20;

pub(super) struct Floor<C> {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    commit: C,
    folder: PathBuf,
}

type Shard = HashMap<String, Entry, RandomState>;

struct Entry {
    /// When this is durable.
    number: u64,
    state: State,
}

enum State {
    Held { lease_id: u128, expires_at: Instant },
    Completed(Arc<[u8]>),
}

impl<C: Commit> Floor<C> {
    /// Opens what is in `folder`, and begins a new file if there is nothing.
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let path = folder.join(FILE);
        let Ok(old) = File::open(&path) else {
            return Self::begin(folder, LogFile::create(&path, SIZE, promise));
        };
        let floor = Self::begin(folder, LogFile::create(&folder.join("next"), 1, promise));
        replay(old, |key, body| floor.recover(key, body));
        floor
    }

    fn recover(&self, key: &str, body: &[u8]) {
        let mut shard = self.shard(key).lock();
        let state = match body.try_into() {
            Ok(id) => State::Held { lease_id: u128::from_le_bytes(id), expires_at: Instant::now() + TTL },
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
        // The lower bits choose the place in the shard.
        &self.shards[(hash >> 58) as usize]
    }

    fn acquire(&self, key: &str) -> Result<(u128, Ticket), Told> {
        let mut shard = self.shard(key).lock();
        match shard.get(key) {
            Some(Entry { number, state: State::Completed(result) }) => {
                assert!(self.commit.group().is_durable(*number));
                let result = result.clone();
                drop(shard);
                return Err(Told::Replayed(serde_json::from_slice(&result).expect("a receipt")));
            }
            Some(Entry { state: State::Held { expires_at, .. }, .. }) => {
                if let Some(left) = expires_at.checked_duration_since(Instant::now()) {
                    return Err(Told::Refused(left));
                }
            }
            None => {}
        }
        let (lease_id, expires_at) = (fastrand::u128(..), Instant::now() + TTL);
        let ticket = self.commit.stage(|out: &mut Vec<u8>| frame(out, key, &lease_id.to_le_bytes(), GRANTED));
        let state = State::Held { lease_id, expires_at };
        shard.insert(key.to_owned(), Entry { number: ticket.number, state });
        Ok((lease_id, ticket))
    }

    fn complete(&self, key: &str, by: u128, receipt: &Receipt) -> Ticket {
        let result: Arc<[u8]> = serde_json::to_vec(receipt).expect("JSON").into();
        let mut shard = self.shard(key).lock();
        let entry = shard.get_mut(key).expect("acquired");
        assert!(matches!(entry.state, State::Held { lease_id, .. } if lease_id == by));
        let ticket = self.commit.stage(|out: &mut Vec<u8>| frame(out, key, &result, COMPLETED));
        *entry = Entry { number: ticket.number, state: State::Completed(result) };
        ticket
    }
}

impl<C: Commit> Guard for Floor<C> {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        let (lease_id, ticket) = match self.acquire(key) {
            Ok(granted) => granted,
            Err(told) => return told,
        };
        self.commit.wait(ticket);
        self.commit.wait(self.complete(key, lease_id, receipt));
        Told::Done
    }

    fn hold(&self, key: &str) {
        let (_, ticket) = self.acquire(key).unwrap_or_else(|told| panic!("{told:?}"));
        self.commit.wait(ticket);
    }

    /// A file of exactly what that many cycles write.
    fn fill(&self, count: u64) {
        let path = self.folder.join(FILE);
        std::fs::remove_file(&path).expect("the file as it was begun");
        let mut file = LogFile::create(&path, count * (GRANTED + COMPLETED) as u64, Promise::Process);
        let mut bytes = Vec::new();
        for n in 0..count {
            let key = key(0, n);
            frame(&mut bytes, &key, &fastrand::u128(..).to_le_bytes(), GRANTED);
            let result: Arc<[u8]> = serde_json::to_vec(&Receipt::new(n)).expect("JSON").into();
            frame(&mut bytes, &key, &result, COMPLETED);
            self.shard(&key).lock().insert(key, Entry { number: 0, state: State::Completed(result) });
            if bytes.len() > 1 << 20 || n + 1 == count {
                file.append(&bytes);
                bytes.clear();
            }
        }
    }
}

/// The floor under asynchronous callers.
impl AsyncGuard for Floor<Writer> {
    async fn run(&self, key: &str, receipt: &Receipt) -> Told {
        let (lease_id, ticket) = match self.acquire(key) {
            Ok(granted) => granted,
            Err(told) => return told,
        };
        ticket.await;
        self.complete(key, lease_id, receipt).await;
        Told::Done
    }
}
