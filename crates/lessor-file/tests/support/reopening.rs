//! A store that closes and opens its log every few calls, invisibly to its callers.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use lessor_core::store::{
    ChangeNotifier, Closing, Execution, Operation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{Durability, Key, Pending, Store, Timestamp};
use lessor_file::{FileStore, Settings};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Reopening {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    clock: ManualClock,
    every: u64,
    calls: u64,
    disk: SimDisk,
    store: Option<FileStore>,
}

impl Reopening {
    pub(crate) fn new(settings: Settings, clock: ManualClock, every: u64) -> Self {
        let disk = SimDisk::new();
        let store = Some(open(&settings, &clock, &disk));
        Self { inner: Mutex::new(Inner { settings, clock, every, calls: 0, disk, store }) }
    }

    fn with<T>(&self, call: impl FnOnce(&FileStore) -> T) -> T {
        let mut inner = self.inner.lock();
        inner.calls += 1;
        if inner.calls.is_multiple_of(inner.every) {
            inner.reopen();
        }
        call(inner.store.as_ref().unwrap())
    }
}

impl Inner {
    fn reopen(&mut self) {
        self.store.take().unwrap().close().unwrap();
        self.store = Some(open(&self.settings, &self.clock, &self.disk));
    }
}

fn open(settings: &Settings, clock: &ManualClock, disk: &SimDisk) -> FileStore {
    let builder = FileStore::builder().settings(settings.clone()).clock(Arc::new(clock.clone()));
    builder.open_on(Arc::new(disk.clone())).unwrap()
}

impl Store for Reopening {
    fn now(&self) -> Reply<Timestamp> {
        self.with(|store| Pending::ready(store.now().wait()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.with(|store| Pending::ready(store.load(key).wait()))
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.with(|store| match store.execute(operation) {
            Execution::Later(reply) => Execution::Later(Pending::ready(reply.wait())),
            done @ Execution::Done(_) => done,
        })
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.with(|store| Pending::ready(store.scan(query).wait()))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.with(|store| Pending::ready(store.purge(limit).wait()))
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        let inner = self.inner.lock();
        Store::close(inner.store.as_ref().unwrap(), closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        drop(notifier);
    }
}
