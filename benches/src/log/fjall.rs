//! fjall. A lock per key is held until the write is durable, so that no caller receives an answer
//! that could still be lost.

use std::hash::BuildHasher;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::Promise;
use super::kv::{RECORDS_PER_TRANSACTION, Store};

pub(super) struct Fjall {
    database: Database,
    leases: Keyspace,
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
    promise: Promise,
}

impl Fjall {
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let database = Database::builder(folder).open().expect("fjall opens");
        let leases = database.keyspace("leases", KeyspaceCreateOptions::default).expect("keyspace");
        let locks = (0..1024).map(|_| Mutex::default()).collect();
        Self { database, leases, locks, hasher: RandomState::default(), promise }
    }
}

impl Fjall {
    fn lock(&self, key: &str) -> MutexGuard<'_, ()> {
        self.locks[self.hasher.hash_one(key) as usize % self.locks.len()].lock()
    }
}

impl Store for Fjall {
    fn read<T>(&self, key: &str, with: impl FnOnce(Option<&[u8]>) -> T) -> T {
        // An insertion is visible before it is durable.
        let _lock = self.lock(key);
        with(self.leases.get(key).expect("get").as_deref())
    }

    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) {
        let _lock = self.lock(key);
        if let Some(next) = change(self.leases.get(key).expect("get").as_deref()) {
            self.leases.insert(key, next).expect("insert");
            if self.promise == Promise::Disk {
                self.database.persist(PersistMode::SyncData).expect("persist");
            }
        }
    }

    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>) {
        let mut records = records.peekable();
        while records.peek().is_some() {
            let mut batch = self.database.batch();
            for (key, value) in records.by_ref().take(RECORDS_PER_TRANSACTION) {
                batch.insert(&self.leases, key, value);
            }
            batch.commit().expect("commit");
        }
        self.database.persist(PersistMode::SyncAll).expect("persist");
    }
}
