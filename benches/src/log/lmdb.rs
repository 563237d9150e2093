//! LMDB.

use std::path::Path;

use lmdb::{Database, DatabaseFlags, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags};

use super::Promise;
use super::kv::{RECORDS_PER_TRANSACTION, Store};

pub(super) struct Lmdb {
    environment: Environment,
    leases: Database,
}

impl Lmdb {
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let flags = match promise {
            Promise::Disk => EnvironmentFlags::empty(),
            Promise::Process => EnvironmentFlags::NO_SYNC,
        };
        let environment = Environment::new()
            .set_flags(flags)
            .set_map_size(8 << 30)
            .set_max_readers(1024)
            .set_max_dbs(1)
            .open(folder)
            .expect("LMDB opens");
        let leases = environment.create_db(Some("leases"), DatabaseFlags::empty()).expect("database");
        Self { environment, leases }
    }

    fn write(&self, work: impl FnOnce(&mut RwTransaction<'_>)) {
        let mut transaction = self.environment.begin_rw_txn().expect("begin");
        work(&mut transaction);
        transaction.commit().expect("commit");
    }

    fn get<'t>(&self, transaction: &'t impl Transaction, key: &str) -> Option<&'t [u8]> {
        match transaction.get(self.leases, &key) {
            Ok(value) => Some(value),
            Err(lmdb::Error::NotFound) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Store for Lmdb {
    fn read<T>(&self, key: &str, with: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let transaction = self.environment.begin_ro_txn().expect("begin");
        with(self.get(&transaction, key))
    }

    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) {
        self.write(|transaction| {
            if let Some(next) = change(self.get(transaction, key)) {
                transaction.put(self.leases, &key, &next, WriteFlags::empty()).expect("put");
            }
        });
    }

    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>) {
        let mut records = records.peekable();
        while records.peek().is_some() {
            self.write(|transaction| {
                for (key, value) in records.by_ref().take(RECORDS_PER_TRANSACTION) {
                    transaction.put(self.leases, &key, &value, WriteFlags::empty()).expect("put");
                }
            });
        }
    }
}
