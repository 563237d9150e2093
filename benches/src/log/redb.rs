//! redb.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::Promise;
use super::kv::{RECORDS_PER_TRANSACTION, Store};

const LEASES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("leases");

pub(super) struct Redb {
    database: Database,
    durability: Durability,
}

impl Redb {
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let database = Database::create(folder.join("leases.redb")).expect("redb opens");
        let durability = match promise {
            Promise::Disk => Durability::Immediate,
            Promise::Process => Durability::None,
        };
        let opened = Self { database, durability };
        opened.write(Durability::Immediate, |_| true);
        opened
    }

    /// `work` returns whether to commit.
    fn write(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> bool,
    ) {
        let mut transaction: WriteTransaction = self.database.begin_write().expect("begin");
        transaction.set_durability(durability).expect("durability");
        if work(&mut transaction.open_table(LEASES).expect("table")) {
            transaction.commit().expect("commit");
        } else {
            transaction.abort().expect("abort");
        }
    }
}

impl Store for Redb {
    fn read<T>(&self, key: &str, with: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let table = self.database.begin_read().expect("begin").open_table(LEASES).expect("table");
        let value = table.get(key).expect("get");
        with(value.as_ref().map(|value| value.value()))
    }

    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) {
        self.write(self.durability, |table| {
            let next = change(table.get(key).expect("get").as_ref().map(|value| value.value()));
            next.is_some_and(|next| table.insert(key, next.as_slice()).is_ok())
        });
    }

    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>) {
        let mut records = records.peekable();
        while records.peek().is_some() {
            self.write(Durability::None, |table| {
                for (key, value) in records.by_ref().take(RECORDS_PER_TRANSACTION) {
                    table.insert(key.as_str(), value.as_slice()).expect("insert");
                }
                true
            });
        }
        // Includes the data that makes opening fast after a crash.
        let mut last = self.database.begin_write().expect("begin");
        last.set_quick_repair(true);
        last.commit().expect("commit");
    }
}
