//! One shard of the records.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use lessor_core::{Key, Record, Timestamp, Token};

use crate::index::Index;
use crate::nodes::Nodes;

/// The records of one shard by their keys. All access is under one lock.
#[derive(Default)]
pub(super) struct Table {
    index: Index,
    nodes: Nodes,
    /// The highest token of any record that was dropped.
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

    /// Returns a place for the record of a key that has none, and its number for [`keep`](Self::keep). Returns `None` if there is no room.
    #[inline]
    pub(super) fn reserve(&mut self, key: Key) -> Option<(u32, &mut Option<Record>)> {
        self.nodes.reserve(key)
    }

    /// Enters the record that was put into a reserved place, if there is one.
    #[inline]
    pub(super) fn keep(&mut self, hash: u64, number: u32) {
        if self.nodes.keep(number) {
            self.index.insert(hash, number);
        }
    }

    /// Takes account of a changed record.
    #[inline]
    pub(super) fn changed(&mut self, number: u32, purge_at: Timestamp) {
        self.nodes.changed(number, purge_at);
    }

    /// Drops a record. The next grant of its key has a larger token.
    pub(super) fn drop_record(&mut self, hash: u64, number: u32) -> Option<Record> {
        let token = self.nodes.get(number)?.1.token();
        self.floor = self.floor.max(Some(token));
        self.index.remove(hash, number);
        self.nodes.remove(number)
    }

    /// Drops up to `limit` records of one chunk that are due at `now`, and adds them to `dropped`, so that they are freed after
    /// the lock is released. Returns the number of the chunk and of the records that were examined; `None` if no chunk from
    /// `first` on is due.
    pub(super) fn purge(
        &mut self,
        state: &RandomState,
        first: usize,
        now: Timestamp,
        limit: usize,
        dropped: &mut Vec<Record>,
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
