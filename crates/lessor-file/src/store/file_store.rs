//! The `Store` contract on an open log.

use lessor_core::store::{
    Applied, ChangeNotifier, Closing, Execution, Operation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{Durability, Key, Store, Timestamp};

use crate::store::handle::FileStore;

impl FileStore {
    /// Answers an operation that needs no write, if its record is in memory and may be returned.
    fn answer(&self, operation: &mut Operation<'_>) -> Option<Applied> {
        if !operation.may_read() || !self.log.clock.is_reserved() || self.log.process.is_forked() {
            return None;
        }
        // Must not block: in a forked child the lock may be held for ever by a thread that does not
        // exist there.
        let shard = self.log.index.try_read(operation.key())?;
        let slot = shard.slot(operation.key())?;
        if slot.lsn > self.log.committer.visible() {
            return None;
        }
        operation.answer(slot.record.as_ref()?, self.log.reserved_now()?)
    }
}

impl Store for FileStore {
    #[inline]
    fn now(&self) -> Reply<Timestamp> {
        self.cas.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.cas.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        match self.answer(operation) {
            Some(answered) => Execution::Done(answered),
            None => self.cas.execute(operation),
        }
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.cas.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.cas.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.cas.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.cas.close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        if self.log.check_process().is_ok() {
            self.cas.subscribe(notifier);
        }
    }
}
