//! sled.

use std::path::Path;

use super::Promise;
use super::kv::Store;

pub(super) struct Sled {
    database: sled::Db,
    promise: Promise,
}

impl Sled {
    pub(super) fn open(folder: &Path, promise: Promise) -> Self {
        let config = sled::Config::new().path(folder).flush_every_ms(match promise {
            Promise::Disk => None,
            Promise::Process => Some(1000),
        });
        Self { database: config.open().expect("sled opens"), promise }
    }
}

impl Store for Sled {
    fn read<T>(&self, key: &str, with: impl FnOnce(Option<&[u8]>) -> T) -> T {
        with(self.database.get(key).expect("get").as_deref())
    }

    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) {
        let mut old = self.database.get(key).expect("get");
        while let Some(next) = change(old.as_deref()) {
            match self.database.compare_and_swap(key, old.as_ref(), Some(next)).expect("swap") {
                Ok(()) => break,
                Err(conflict) => old = conflict.current,
            }
        }
        if self.promise == Promise::Disk {
            self.database.flush().expect("flush");
        }
    }

    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>) {
        for (key, value) in records {
            self.database.insert(key, value).expect("insert");
        }
        self.database.flush().expect("flush");
    }
}
