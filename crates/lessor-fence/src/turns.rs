//! A lock for each key.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lets one caller of each key work at a time. Only keys that are in use take memory.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Box<str>, Arc<Mutex<()>>>>);

impl Turns {
    /// Runs `work` while no other work of the key runs.
    pub(crate) fn take<T>(&self, key: &str, work: impl FnOnce() -> T) -> T {
        let turn = self.turn(key);
        // Dropped after the lock, also if the work panics.
        let _leave = Leave { turns: self, key, turn: &turn };
        let _held = turn.lock();
        work()
    }

    fn turn(&self, key: &str) -> Arc<Mutex<()>> {
        let mut turns = self.0.lock();
        match turns.get(key) {
            Some(turn) => Arc::clone(turn),
            None => Arc::clone(turns.entry(key.into()).or_default()),
        }
    }
}

struct Leave<'a> {
    turns: &'a Turns,
    key: &'a str,
    turn: &'a Arc<Mutex<()>>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock();
        // Clones are made under the lock of the map only, so that no one else waits if there are
        // two: the one in the map and this one.
        if Arc::strong_count(self.turn) == 2 {
            turns.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

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

    #[test]
    fn a_panic_of_the_work_ends_its_turn() {
        let turns = Turns::default();
        assert!(catch_unwind(AssertUnwindSafe(|| turns.take("a", || panic!("planted")))).is_err());
        assert!(turns.0.lock().is_empty());
        assert_eq!(turns.take("a", || 1), 1);
    }
}
