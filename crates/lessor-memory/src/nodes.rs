//! The records of a shard, with the time at which each may be purged.

use lessor_core::{Key, Record, Timestamp};

/// Records in chunks of 64. A record keeps its number until it is removed.
///
/// Each chunk stores a lower bound of the times at which its records may be purged, so that a purge
/// reads only chunks with records that are due. The memory of an empty chunk is released.
#[derive(Default)]
pub(super) struct Nodes {
    chunks: Vec<Chunk>,
    /// The numbers of the chunks with free nodes.
    open: Vec<u32>,
    len: usize,
}

struct Chunk {
    nodes: Vec<Node>,
    /// One bit per node, set if the node is in use.
    used: u64,
    /// No record of the chunk may be purged before this time.
    due: Timestamp,
}

pub(super) struct Node {
    /// `None` if the node is free.
    key: Option<Key>,
    /// `None` if the node is free, or reserved.
    record: Option<Record>,
}

impl Node {
    #[inline]
    fn get(&self) -> Option<(&Key, &Record)> {
        Some((self.key.as_ref()?, self.record.as_ref()?))
    }
}

pub(super) const CHUNK: u32 = u64::BITS;

impl Chunk {
    const fn new() -> Self {
        Self { nodes: Vec::new(), used: 0, due: Timestamp::MAX }
    }
}

/// Splits the number of a record into the number of its chunk and the position within the chunk.
#[inline]
fn place(number: u32) -> (usize, usize) {
    ((number / CHUNK) as usize, (number % CHUNK) as usize)
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Returns the number of nodes for which memory is allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.nodes.capacity()).sum()
    }

    /// Returns the number of keys that are in memory.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.chunks.iter().flat_map(|chunk| &chunk.nodes).filter(|node| node.key.is_some()).count()
    }

    #[inline]
    fn node(&self, number: u32) -> Option<&Node> {
        let (chunk, at) = place(number);
        self.chunks.get(chunk)?.nodes.get(at)
    }

    #[inline]
    fn node_mut(&mut self, number: u32) -> Option<&mut Node> {
        let (chunk, at) = place(number);
        self.chunks.get_mut(chunk)?.nodes.get_mut(at)
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<(&Key, &Record)> {
        self.node(number)?.get()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        self.node_mut(number)?.record.as_mut()
    }

    /// Returns the records of a chunk.
    pub(super) fn in_chunk(&self, chunk: usize) -> impl Iterator<Item = (u32, &Key, &Record)> {
        let first = u32::try_from(chunk).unwrap_or(u32::MAX).saturating_mul(CHUNK);
        let nodes = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk.nodes);
        (first..)
            .zip(nodes)
            .filter_map(|(number, node)| node.get().map(|(key, record)| (number, key, record)))
    }

    /// Returns the number of a free node, and the place for its record. After a record was stored
    /// there, [`keep`](Self::keep) makes it the record of the key. Returns `None` if there are 2^32
    /// records.
    #[inline]
    pub(super) fn reserve(&mut self, key: Key) -> Option<(u32, &mut Option<Record>)> {
        let number = match self.open.last() {
            Some(number) => *number,
            None => self.open_chunk()?,
        };
        let Chunk { nodes, used, .. } = self.chunks.get_mut(number as usize)?;
        let at = used.trailing_ones();
        if at as usize == nodes.len() {
            nodes.push(Node { key: Some(key), record: None });
        } else {
            nodes.get_mut(at as usize)?.key = Some(key);
        }
        Some((number * CHUNK + at, &mut nodes.get_mut(at as usize)?.record))
    }

    /// Adds the record that was stored in a reserved node. Returns whether there is one.
    #[inline]
    pub(super) fn keep(&mut self, number: u32) -> bool {
        let (chunk, at) = place(number);
        let Some(chunk) = self.chunks.get_mut(chunk) else { return false };
        let Some(record) = chunk.nodes.get(at).and_then(|node| node.record.as_ref()) else { return false };
        chunk.due = chunk.due.min(record.purge_at());
        chunk.used |= 1 << at;
        if chunk.used == u64::MAX {
            self.open.pop();
        }
        self.len += 1;
        true
    }

    #[inline(never)]
    fn open_chunk(&mut self) -> Option<u32> {
        let number = u32::try_from(self.chunks.len()).ok().filter(|number| *number < u32::MAX / CHUNK)?;
        let mut chunk = Chunk::new();
        if number > 0 {
            // The first chunk grows with its records.
            chunk.nodes.reserve_exact(CHUNK as usize);
        }
        self.chunks.push(chunk);
        self.open.push(number);
        Some(number)
    }

    /// Removes a record and its key.
    pub(super) fn remove(&mut self, number: u32) -> Option<(Key, Record)> {
        let (at_chunk, at) = place(number);
        let chunk = self.chunks.get_mut(at_chunk)?;
        let node = chunk.nodes.get_mut(at)?;
        let removed = node.key.take().zip(node.record.take())?;
        if chunk.used == u64::MAX {
            self.open.push(number / CHUNK);
        }
        chunk.used &= !(1 << at);
        self.len -= 1;
        // The last open chunk is kept for the next record.
        if chunk.used == 0 && self.open.len() > 1 {
            *chunk = Chunk::new();
        }
        Some(removed)
    }

    /// Updates the chunk of a record that was changed.
    #[inline]
    pub(super) fn changed(&mut self, number: u32, purge_at: Timestamp) {
        if let Some(chunk) = self.chunks.get_mut(place(number).0) {
            chunk.due = chunk.due.min(purge_at);
        }
    }

    /// Returns the first chunk from `first` on with a record that may be due at `now`.
    pub(super) fn due_chunk(&self, first: usize, now: Timestamp) -> Option<usize> {
        let may_be_due = |chunk: &Chunk| chunk.used != 0 && chunk.due <= now;
        self.chunks.iter().skip(first).position(may_be_due).map(|at| first + at)
    }

    /// Sets the lower bound of a chunk to the earliest time of its records.
    pub(super) fn examined(&mut self, chunk: usize) {
        let earliest = self.in_chunk(chunk).map(|(_, _, record)| record.purge_at()).min();
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            chunk.due = earliest.unwrap_or(Timestamp::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a result of 64 bytes takes about 190 bytes in the in-memory store: 176
    /// here, and up to 12 in the index.
    #[test]
    fn a_record_takes_176_bytes() {
        assert_eq!(size_of::<Node>(), 176);
    }
}
