//! The index of a shard, from the hashes of keys to the numbers of records.

/// A hash table with open addressing and eight bytes per slot: the upper half is a part of the
/// key's hash, and the lower half is the record's number plus one. An empty slot is 0.
///
/// The used slots are in ascending order of the hashes. An entry is at or after its home position,
/// which rises with the hash, without an empty slot in between. So a search ends at the first empty
/// slot or larger hash, growth reads and writes sequentially, and a removal leaves no mark. There
/// is no wrap-around: entries may be stored beyond the last home position.
#[derive(Default)]
pub(super) struct Index {
    slots: Vec<u64>,
    /// The number of home positions.
    homes: u64,
    /// The number of entries.
    len: usize,
}

/// The index grows by a quarter when it is 85 % full, and shrinks when it is 20 % full.
const GROWN: (u64, u64) = (5, 4);
const FULL: (usize, usize) = (17, 20);
const SPARSE: (usize, usize) = (1, 5);
const SMALLEST: u64 = 8;
/// The minimum number of slots to allocate beyond the last home position.
const OVERFLOW: usize = 8;

/// Returns the part of a hash that the index uses, in the upper half of a slot.
#[inline]
const fn part(hash: u64) -> u64 {
    hash << 32
}

const fn number(slot: u64) -> u32 {
    // The number is in the lower half.
    let [a, b, c, d, ..] = slot.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).wrapping_sub(1)
}

/// Adds a slot beyond the last home position. A plain push would double the memory.
fn push(slots: &mut Vec<u64>, slot: u64) {
    if slots.len() == slots.capacity() {
        slots.reserve_exact(slots.len() / 64 + OVERFLOW);
    }
    slots.push(slot);
}

impl Index {
    /// Returns the number of the entry with this hash for which `is_it` is true.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let part = part(hash);
        let slots = self.slots.get(self.home(part)..)?;
        for &slot in slots {
            if slot == 0 || slot >> 32 > part >> 32 {
                return None;
            }
            if slot >> 32 == part >> 32 && is_it(number(slot)) {
                return Some(number(slot));
            }
        }
        None
    }

    /// Adds an entry.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        if (self.len + 1) * FULL.1 > self.capacity() * FULL.0 {
            self.resize((self.homes * GROWN.0 / GROWN.1).max(SMALLEST));
        }
        self.place(part(hash) | (u64::from(number) + 1));
        self.len += 1;
    }

    /// Removes the entry with this hash and number.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let slot = part(hash) | (u64::from(number) + 1);
        let home = self.home(slot);
        let Some(at) = self.slots.iter().skip(home).position(|other| *other == slot) else { return };
        let mut free = home + at;
        // The following entries that are not at their home positions move up by one.
        while let Some(&next) = self.slots.get(free + 1)
            && next != 0
            && self.home(next) <= free
        {
            self.set(free, next);
            free += 1;
        }
        self.set(free, 0);
        self.len -= 1;
        if self.homes > SMALLEST && self.len * SPARSE.1 < self.capacity() * SPARSE.0 {
            self.resize((self.homes / 2).max(SMALLEST));
        }
    }

    /// Returns the number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.homes).unwrap_or(usize::MAX)
    }

    #[inline]
    fn home(&self, slot: u64) -> usize {
        usize::try_from(((slot >> 32) * self.homes) >> 32).unwrap_or(usize::MAX)
    }

    #[inline]
    fn set(&mut self, at: usize, slot: u64) {
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    /// Inserts a slot at its position, and moves the following ones down by one.
    #[inline]
    fn place(&mut self, slot: u64) {
        let mut moved = slot;
        let home = self.home(slot);
        for place in self.slots.iter_mut().skip(home) {
            if *place == 0 {
                *place = moved;
                return;
            }
            if *place > moved {
                std::mem::swap(place, &mut moved);
            }
        }
        push(&mut self.slots, moved);
    }

    fn resize(&mut self, homes: u64) {
        self.homes = homes;
        let capacity = self.capacity();
        let old = std::mem::replace(&mut self.slots, vec![0; capacity]);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let at = next.max(self.home(slot));
            match self.slots.get_mut(at) {
                Some(place) => *place = slot,
                None => push(&mut self.slots, slot),
            }
            next = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Generates hashes that differ, that collide in the part that is used, and that are adjacent.
    fn hash() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (0..4_u64).prop_map(|few| few << 40),
            (0..64_u64),
            Just(u64::from(u32::MAX))
        ]
    }

    fn check(index: &Index, entries: &BTreeSet<(u64, u32)>) {
        assert_eq!(index.len, entries.len());
        let used: Vec<u64> = index.slots.iter().copied().filter(|slot| *slot != 0).collect();
        assert_eq!(used.len(), entries.len());
        assert!(used.is_sorted());
        for &(hash, number) in entries {
            assert_eq!(index.find(hash, |found| found == number), Some(number), "{hash:x} {number}");
        }
    }

    proptest! {
        /// An entry is found from its insertion until its removal, whatever else is inserted and
        /// removed.
        #[test]
        fn entries_are_found_until_they_are_removed(
            steps in prop::collection::vec((any::<bool>(), hash(), any::<prop::sample::Index>()), 1..600),
        ) {
            let (mut index, mut entries, mut next) = (Index::default(), BTreeSet::new(), 0);
            for (insert, hash, which) in steps {
                if insert || entries.is_empty() {
                    index.insert(hash, next);
                    entries.insert((hash, next));
                    next += 1;
                } else {
                    let all: Vec<_> = entries.iter().copied().collect();
                    let removed @ (hash, number) = *which.get(&all);
                    index.remove(hash, number);
                    entries.remove(&removed);
                    prop_assert_eq!(index.find(hash, |found| found == number), None);
                }
                check(&index, &entries);
            }
        }
    }

    /// The slots of removed entries are released.
    #[test]
    fn the_index_shrinks_with_its_entries() {
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
        let mut index = Index::default();
        (0..100_000).for_each(|n| index.insert(hash(n), n));
        assert!(index.slots.len() < 100_000 * 3 / 2, "{} slots", index.slots.len());
        (100..100_000).for_each(|n| index.remove(hash(n), n));
        assert!(index.slots.len() < 1_000, "{} slots", index.slots.len());
        assert!((0..100).all(|n| index.find(hash(n), |found| found == n) == Some(n)));
    }

    /// A record takes about 190 bytes in the in-memory store, of which the index takes up to
    /// 12, including the entries beyond the last home position.
    #[test]
    fn an_entry_takes_at_most_12_bytes() {
        let mut index = Index::default();
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
        for n in 0..200_000 {
            index.insert(hash(n), n);
            let bytes = index.slots.capacity() * size_of::<u64>();
            assert!(n < 1_000 || bytes <= index.len * 12, "{bytes} bytes for {} entries", index.len);
        }
    }
}
