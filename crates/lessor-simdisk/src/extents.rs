//! The sectors of a file that are allocated on the disk.

use std::ops::Range;

/// Sorted, disjoint ranges of sectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extents(Vec<Range<u64>>);

impl Extents {
    pub(crate) fn contains(&self, sector: u64) -> bool {
        self.0.iter().any(|range| range.contains(&sector))
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    pub(crate) fn add(&mut self, added: Range<u64>) {
        if added.is_empty() || self.0.iter().any(|range| range.start <= added.start && added.end <= range.end)
        {
            return;
        }
        let mut merged = added;
        self.0.retain(|range| {
            let apart = range.end < merged.start || merged.end < range.start;
            if !apart {
                merged = merged.start.min(range.start)..merged.end.max(range.end);
            }
            apart
        });
        self.0.push(merged);
        self.0.sort_unstable_by_key(|range| range.start);
    }

    /// Removes all sectors from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.0.retain_mut(|range| {
            range.end = range.end.min(end);
            !range.is_empty()
        });
    }
}
