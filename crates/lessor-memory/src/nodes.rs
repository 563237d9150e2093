//! The records of a shard, and when each of them may be purged.

use lessor_core::{Key, Record, Timestamp};

/// Records in chunks of 64, each with a number that it keeps.
///
/// A chunk knows a lower bound of the times at which its records may be purged, so that a purge looks only at chunks with records
/// that are due. The memory of a chunk without records is released.
#[derive(Default)]
pub(super) struct Nodes {
    chunks: Vec<Chunk>,
    /// The numbers of the chunks with free nodes.
    open: Vec<u32>,
    len: usize,
}

struct Chunk {
    nodes: Vec<Node>,
    used: u32,
    /// The head of the list of free nodes.
    free: Option<u8>,
    /// No record of the chunk may be purged earlier.
    due: Timestamp,
}

pub(super) enum Node {
    Used(Key, Record),
    Free { next: Option<u8> },
}

pub(super) const CHUNK: u32 = 64;

impl Chunk {
    fn new() -> Self {
        Self { nodes: Vec::new(), used: 0, free: None, due: Timestamp::MAX }
    }
}

/// The number of a record, taken apart.
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

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<(&Key, &Record)> {
        let (chunk, at) = place(number);
        match self.chunks.get(chunk)?.nodes.get(at)? {
            Node::Used(key, record) => Some((key, record)),
            Node::Free { .. } => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        let (chunk, at) = place(number);
        match self.chunks.get_mut(chunk)?.nodes.get_mut(at)? {
            Node::Used(_, record) => Some(record),
            Node::Free { .. } => None,
        }
    }

    /// Returns the records of a chunk.
    pub(super) fn in_chunk(&self, chunk: usize) -> impl Iterator<Item = (u32, &Key, &Record)> {
        let first = u32::try_from(chunk).unwrap_or(u32::MAX).saturating_mul(CHUNK);
        let nodes = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk.nodes);
        (first..).zip(nodes).filter_map(|(number, node)| match node {
            Node::Used(key, record) => Some((number, key, record)),
            Node::Free { .. } => None,
        })
    }

    /// Adds a record, and returns its number. Returns `None` if there are 2^32 records.
    #[inline]
    pub(super) fn add(&mut self, key: Key, record: Record) -> Option<u32> {
        let number = match self.open.last() {
            Some(number) => *number,
            None => self.open_chunk()?,
        };
        let chunk = self.chunks.get_mut(number as usize)?;
        chunk.due = chunk.due.min(record.purge_at());
        let node = Node::Used(key, record);
        let at = match chunk.free {
            Some(at) => {
                let place = chunk.nodes.get_mut(usize::from(at))?;
                if let Node::Free { next } = std::mem::replace(place, node) {
                    chunk.free = next;
                }
                u32::from(at)
            }
            None => {
                chunk.nodes.push(node);
                chunk.used
            }
        };
        chunk.used += 1;
        if chunk.used == CHUNK {
            self.open.pop();
        }
        self.len += 1;
        Some(number * CHUNK + at)
    }

    #[inline(never)]
    fn open_chunk(&mut self) -> Option<u32> {
        let number = u32::try_from(self.chunks.len()).ok().filter(|number| *number < u32::MAX / CHUNK)?;
        let mut chunk = Chunk::new();
        if number > 0 {
            // The first one grows with its records.
            chunk.nodes.reserve_exact(CHUNK as usize);
        }
        self.chunks.push(chunk);
        self.open.push(number);
        Some(number)
    }

    /// Removes a record.
    pub(super) fn remove(&mut self, number: u32) -> Option<Node> {
        let (at_chunk, at) = place(number);
        let chunk = self.chunks.get_mut(at_chunk)?;
        let node = chunk.nodes.get_mut(at).filter(|node| matches!(node, Node::Used(..)))?;
        let removed = std::mem::replace(node, Node::Free { next: chunk.free });
        chunk.free = u8::try_from(at).ok();
        if chunk.used == CHUNK {
            self.open.push(number / CHUNK);
        }
        chunk.used -= 1;
        self.len -= 1;
        // The last open chunk is kept, for the next record.
        if chunk.used == 0 && self.open.len() > 1 {
            *chunk = Chunk::new();
        }
        Some(removed)
    }

    /// Takes account of a changed record.
    #[inline]
    pub(super) fn changed(&mut self, number: u32, purge_at: Timestamp) {
        if let Some(chunk) = self.chunks.get_mut(place(number).0) {
            chunk.due = chunk.due.min(purge_at);
        }
    }

    /// Returns the first chunk from `first` on with a record that may be due at `now`.
    pub(super) fn due_chunk(&self, first: usize, now: Timestamp) -> Option<usize> {
        self.chunks.iter().skip(first).position(|chunk| chunk.due <= now).map(|at| first + at)
    }

    /// Sets the lower bound of a chunk to the earliest of its records.
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

    /// The in-memory store promises at most 190 bytes per record with a result of 64 bytes: these, and up to 12 of the index.
    #[test]
    fn a_record_takes_176_bytes() {
        assert_eq!(size_of::<Node>(), 176);
    }
}
