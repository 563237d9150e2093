//! Detection of forked processes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use lessor_core::{StoreError, Timestamp};

/// The process that opened a log.
#[derive(Debug)]
pub(crate) struct Process {
    id: AtomicU32,
    /// The current process was found to be another one.
    is_forked: AtomicBool,
    /// The time of the next check, in µs.
    next_check: AtomicU64,
}

/// The interval between checks, in µs. A check is a system call, which takes longer than an answer
/// from memory.
const CHECK_EVERY_MICROS: u64 = 1_000;

impl Process {
    pub(crate) fn this() -> Self {
        let id = AtomicU32::new(std::process::id());
        Self { id, is_forked: AtomicBool::new(false), next_check: AtomicU64::new(0) }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.is_forked.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if std::process::id() == self.id.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.is_forked.store(true, Ordering::Relaxed);
        let reason =
            "this process was forked from the one that opened the log; open another store in the child";
        Err(StoreError::unavailable(reason))
    }

    /// Detects a fork at most a millisecond late.
    pub(crate) fn check_at(&self, now: Timestamp) -> Result<(), StoreError> {
        let now = now.as_micros();
        if now < self.next_check.load(Ordering::Relaxed) && !self.is_forked() {
            return Ok(());
        }
        self.check()?;
        self.next_check.store(now + CHECK_EVERY_MICROS, Ordering::Relaxed);
        Ok(())
    }

    /// Acts as a forked child does, or as the parent again.
    #[cfg(test)]
    pub(crate) fn pretend(&self, is_child: bool) {
        self.id.store(std::process::id() + u32::from(is_child), Ordering::Relaxed);
        self.is_forked.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use lessor_core::store::{Closing, Scan};
    use lessor_core::{Acquisition, Engine, ErrorKind, Key, Store, StoreError, Timestamp};
    use lessor_testkit::ManualClock;

    use crate::FileStore;
    use lessor_simdisk::{Call, SimDisk};
    use lessor_vfs::Vfs;

    fn take(engine: &Engine, key: &str) -> lessor_core::Lease {
        match engine.acquire(key).wait() {
            Ok(Acquisition::Acquired(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn refused<T>(call: &str, answer: Result<T, StoreError>) {
        match answer {
            Err(StoreError::Unavailable(cause)) => {
                assert!(cause.reason().contains("forked"), "{call}: {cause}");
            }
            Err(error) => panic!("{call}: {error}"),
            Ok(_) => panic!("{call} succeeded"),
        }
    }

    /// In a forked child of the process with the log, a close panicked, because it joined a thread
    /// that did not exist, and a compaction waited for ever for another thread.
    #[test]
    fn p5_a_forked_child_is_refused_by_every_call_and_changes_nothing() {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        // A forked child has no maintenance thread. Here the thread continues to make segments.
        let mutations = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&mutations);
        disk.on_call(Some(Arc::new(move |call: Call| {
            let is_maintenance = std::thread::current().name() == Some("lessor-file-maintenance");
            counted.fetch_add(u64::from(call.kind.mutates() && !is_maintenance), Ordering::SeqCst);
        })));
        let mutations = || mutations.load(Ordering::SeqCst);
        let open = || FileStore::builder().clock(Arc::new(clock.clone())).open_on(Arc::new(disk.clone()));
        let store = Arc::new(open().unwrap());
        let engine = Engine::new(store.clone()).unwrap();
        take(&engine, "done").complete(&1).wait().unwrap();
        let lease = take(&engine, "held");
        let close = Store::close;

        store.log.process.pretend(true);
        clock.advance(Duration::from_millis(2));
        let before = mutations();
        let key = Key::new("done").unwrap();
        let log: &FileStore = &store;
        refused("now", Store::now(log).wait());
        refused("load", log.load(&key).wait());
        refused("scan", log.scan(Scan::new("", None, 9)).wait());
        refused("purge", log.purge(9).wait());
        refused("close", close(log, &Closing::until(Timestamp::MAX)).wait());
        for (call, answer) in [
            ("close", log.close()),
            ("compact", log.compact()),
            ("backup", log.backup_on(&SimDisk::new())),
            ("extend", lease.extend(Duration::from_secs(100)).wait().map(drop)),
            ("acquire of a completed key", engine.acquire("done").wait().map(drop)),
            ("acquire", engine.acquire("another").wait().map(drop)),
            ("status", engine.status("done").wait().map(drop)),
        ] {
            let error = answer.expect_err(call);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error}");
        }
        assert_eq!(log.len(), 0);
        assert!(!format!("{log:?}").is_empty());
        assert_eq!(mutations(), before);

        // The parent is not affected.
        store.log.process.pretend(false);
        lease.complete(&2).wait().unwrap();
        store.close().unwrap();
        let store = open().unwrap();
        let log = Arc::clone(&store.log);
        log.process.pretend(true);
        let before = mutations();
        drop(store);
        assert_eq!(mutations(), before, "dropped in the child");
        assert!(disk.try_lock("lock").unwrap().is_none(), "the child has released its parent's folder");
        log.process.pretend(false);
        log.check_process().unwrap();
    }
}
