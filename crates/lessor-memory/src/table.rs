//! One shard of the store.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use lessor_core::{Key, Record, Timestamp, Token};

use crate::index::Index;
use crate::nodes::Nodes;

/// The records of one shard by key. All access is under one lock.
#[derive(Default)]
pub(super) struct Table {
    index: Index,
    nodes: Nodes,
    /// The highest token of any dropped record.
    floor: Option<Token>,
}

/// Returns the hash of a key.
#[inline]
pub(super) fn hash(state: &RandomState, key: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(key);
    hasher.finish()
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn floor(&self) -> Option<Token> {
        self.floor
    }

    /// Returns the number of the key's record.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it = |number| self.nodes.get(number).is_some_and(|(known, _)| known.as_bytes() == key);
        self.index.find(hash, is_it)
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<(&Key, &Record)> {
        self.nodes.get(number)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        self.nodes.get_mut(number)
    }

    /// Returns a place for the record of a key that has none, and its number for
    /// [`keep`](Self::keep). Returns `None` if the shard is full.
    #[inline]
    pub(super) fn reserve(&mut self, key: Key) -> Option<(u32, &mut Option<Record>)> {
        self.nodes.reserve(key)
    }

    /// Adds the record that was stored in a reserved place, if there is one.
    #[inline]
    pub(super) fn keep(&mut self, hash: u64, number: u32) {
        if self.nodes.keep(number) {
            self.index.insert(hash, number);
        }
    }

    /// Updates the purge time of a record that was changed.
    #[inline]
    pub(super) fn changed(&mut self, number: u32, purge_at: Timestamp) {
        self.nodes.changed(number, purge_at);
    }

    /// Drops a record. The next grant of its key has a larger token.
    pub(super) fn drop_record(&mut self, hash: u64, number: u32) -> Option<(Key, Record)> {
        let token = self.nodes.get(number)?.1.token();
        self.floor = self.floor.max(Some(token));
        self.index.remove(hash, number);
        self.nodes.remove(number)
    }

    /// Drops up to `limit` records of one chunk that are due at `now`. They are moved to `dropped`,
    /// so that they are freed after the lock is released. Returns the number of the chunk, and the
    /// count of records that were examined, or `None` if no chunk from `first` on is due.
    pub(super) fn purge(
        &mut self,
        state: &RandomState,
        first: usize,
        now: Timestamp,
        limit: usize,
        dropped: &mut Vec<(Key, Record)>,
    ) -> Option<(usize, usize)> {
        let chunk = self.nodes.due_chunk(first, now)?;
        let mut examined = 0;
        let mut due = Vec::new();
        for (number, key, record) in self.nodes.in_chunk(chunk) {
            examined += 1;
            if record.purge_at() <= now && due.len() < limit {
                due.push((hash(state, key.as_bytes()), number));
            }
        }
        dropped.extend(due.into_iter().filter_map(|(hash, number)| self.drop_record(hash, number)));
        self.nodes.examined(chunk);
        Some((chunk, examined))
    }

    pub(super) fn chunks(&self) -> usize {
        self.nodes.chunks()
    }

    pub(super) fn in_chunk(&self, chunk: usize) -> impl Iterator<Item = (&Key, &Record)> {
        self.nodes.in_chunk(chunk).map(|(_, key, record)| (key, record))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use lessor_core::LeaseId;
    use lessor_core::rules::{Acquire, Command, Decision, decide};
    use std::time::Duration;

    use super::*;

    fn record(micros: u64) -> Record {
        let request = Acquire::new(LeaseId::from_bytes([1; 16]), Duration::from_secs(1));
        let now = Timestamp::from_micros(micros).unwrap();
        match decide(None, &Command::Acquire(request), now, Duration::ZERO) {
            Decision::Write(write, _) => write.next,
            _ => unreachable!("a key without a record is granted"),
        }
    }

    /// Records that are created and dropped leave nothing behind, and the memory of many records is
    /// released with them.
    #[test]
    fn p9_a_shard_is_as_large_as_its_records() {
        let (state, mut table) = (RandomState::default(), Table::default());
        let enter = |table: &mut Table, number: u64| {
            let key = Key::new(&format!("key:{number}")).unwrap();
            let hash = hash(&state, key.as_bytes());
            assert_eq!(table.find(hash, key.as_bytes()), None);
            let (place, vacant) = table.reserve(key.clone()).unwrap();
            *vacant = Some(record(number));
            table.keep(hash, place);
            assert_eq!(table.find(hash, key.as_bytes()), Some(place));
            (hash, place)
        };
        for number in 1..100_000 {
            let (hash, place) = enter(&mut table, number);
            assert!(table.drop_record(hash, place).is_some());
        }
        assert_eq!((table.len(), table.index.len(), table.chunks()), (0, 0, 1));
        let all: Vec<_> = (100_000..200_000).map(|number| enter(&mut table, number)).collect();
        assert_eq!(table.len(), all.len());
        let kept = all.len() - 100;
        all.iter().take(kept).for_each(|(hash, place)| drop(table.drop_record(*hash, *place)));
        assert_eq!((table.len(), table.nodes.allocated() <= 64 * 4), (100, true));
        // Long keys have an allocation.
        assert_eq!(table.nodes.keys(), 100);
        assert_eq!(table.floor(), Some(record(199_899).token()));
        // New records reuse the nodes of dropped ones.
        let chunks = table.chunks();
        (200_000..299_900).for_each(|number| {
            enter(&mut table, number);
        });
        assert_eq!((table.len(), table.chunks()), (100_000, chunks));
    }
}
