//! A lock for each key.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

type Lock = async_lock::Mutex<()>;

/// Lets one caller of each key work at a time. Only keys that are in use take memory.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Box<str>, Arc<Lock>>>);

impl Turns {
    /// Runs `work` while no other work of the key runs.
    pub(crate) fn take<T>(&self, key: &str, work: impl FnOnce() -> T) -> T {
        // The place is dropped after the lock is released, also if the work panics.
        let place = self.place(key);
        let _held = place.lock.lock_blocking();
        work()
    }

    /// Polls `work` while no other work of the key runs.
    pub(crate) async fn take_async<T>(&self, key: &str, work: impl Future<Output = T>) -> T {
        let place = self.place(key);
        let _held = place.lock.lock().await;
        work.await
    }

    fn place<'a>(&'a self, key: &'a str) -> Place<'a> {
        let mut turns = self.0.lock();
        let lock = match turns.get(key) {
            Some(lock) => Arc::clone(lock),
            None => Arc::clone(turns.entry(key.into()).or_default()),
        };
        Place { turns: self, key, lock }
    }
}

/// A caller that works or waits for its turn.
struct Place<'a> {
    turns: &'a Turns,
    key: &'a str,
    lock: Arc<Lock>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock();
        // Clones are made under the lock of the map only, so that no one else waits if there are
        // two: the one in the map and this one.
        if Arc::strong_count(&self.lock) == 2 {
            turns.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures_lite::future;

    use super::*;

    #[test]
    fn a_key_takes_memory_only_while_it_is_in_use() {
        let turns = Turns::default();
        turns.take("a", || {
            assert_eq!(turns.0.lock().len(), 1);
            turns.take("b", || assert_eq!(turns.0.lock().len(), 2));
            assert_eq!(turns.0.lock().len(), 1);
        });
        assert!(turns.0.lock().is_empty());
    }

    /// A future that waits for its turn, or has it, may be dropped.
    #[test]
    fn a_dropped_future_ends_its_turn() {
        let turns = Turns::default();
        let mut first = Box::pin(turns.take_async("a", future::pending::<()>()));
        let mut second = Box::pin(turns.take_async("a", future::ready(2)));
        assert!(future::block_on(future::poll_once(&mut first)).is_none());
        assert!(future::block_on(future::poll_once(&mut second)).is_none());
        drop(first);
        assert_eq!(future::block_on(&mut second), 2);
        drop(second);
        assert!(turns.0.lock().is_empty());
    }

    #[test]
    fn a_panic_of_the_work_ends_its_turn() {
        let turns = Turns::default();
        assert!(catch_unwind(AssertUnwindSafe(|| turns.take("a", || panic!("planted")))).is_err());
        assert!(turns.0.lock().is_empty());
        assert_eq!(turns.take("a", || 1), 1);
    }
}
