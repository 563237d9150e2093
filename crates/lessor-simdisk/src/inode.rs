//! A file: its visible content, its durable content, and the unsynced history between them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::choice::Choice;
use crate::content::{Content, SECTOR, Sector, chunks, slice};
use crate::extents::Extents;
use crate::history::{Length, Version};

#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    pub(crate) visible: Content,
    pub(crate) durable: Content,
    pub(crate) allocated: Extents,
    pub(crate) handles: usize,
    /// The sectors with unsynced versions.
    pub(crate) dirty: BTreeMap<u64, Dirty>,
    /// The unsynced lengths above the durable one, in order.
    pub(crate) lengths: Vec<Length>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) versions: Vec<Version>,
    /// A sync failed and the sector was not written again, so no sync makes it durable.
    pub(crate) lost: bool,
}

impl Inode {
    pub(crate) fn with(bytes: &[u8]) -> Self {
        let mut inode = Self::default();
        inode.write(bytes, 0, 0);
        inode.sync(0);
        inode
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64, time: u64) {
        let end = offset + bytes.len() as u64;
        let touched = sectors(offset, end);
        if self.dirty.range(touched.clone()).next().is_some() || !self.visible.has(offset, bytes) {
            for chunk in chunks(offset, bytes.len(), SECTOR) {
                self.write_sector(chunk.unit, chunk.from, slice(bytes, chunk.part), time);
            }
        }
        self.allocated.add(touched);
        self.visible.len = self.visible.len.max(end);
        let reached = self.lengths.iter().rev().find(|length| !length.lost).map_or(0, |length| length.len);
        if end > reached.max(self.durable.len) {
            self.lengths.push(Length { len: end, time, lost: false });
        }
    }

    fn write_sector(&mut self, sector: u64, from: usize, bytes: &[u8], time: u64) {
        if self.visible.write_sector(sector, from, bytes) {
            let written = from..from + bytes.len();
            let dirty = self.dirty.entry(sector).or_default();
            dirty.versions.push(Version { bytes: Arc::new(self.visible.sector(sector)), time, written });
            dirty.lost = false;
        } else if let Some(dirty) = self.dirty.get_mut(&sector).filter(|dirty| dirty.lost) {
            dirty.lost = false;
            if let Some(last) = dirty.versions.last_mut() {
                last.time = time;
            }
        }
    }

    /// Makes the writes up to `time` durable. Writes during the sync are not part of it.
    pub(crate) fn sync(&mut self, time: u64) {
        self.dirty.retain(|sector, dirty| {
            if dirty.lost {
                return true;
            }
            let settled = dirty.versions.partition_point(|version| version.time <= time);
            if let Some(version) = dirty.versions.drain(..settled).next_back() {
                self.durable.write_sector(*sector, 0, version.bytes.as_slice());
            }
            !dirty.versions.is_empty()
        });
        let synced = self.lengths.iter().filter(|length| !length.lost && length.time <= time);
        let len = synced.map(|length| length.len).fold(self.durable.len, u64::max);
        self.durable.len = len;
        self.lengths.retain(|length| length.len > len);
    }

    /// Marks the writes up to `time` as lost: they stay visible, and no sync makes them durable.
    pub(crate) fn lose(&mut self, time: u64) {
        for dirty in self.dirty.values_mut() {
            dirty.lost |= dirty.versions.iter().all(|version| version.time <= time);
        }
        for length in &mut self.lengths {
            length.lost |= length.time <= time;
        }
    }

    /// Makes lost writes invisible.
    pub(crate) fn evict(&mut self) {
        self.dirty.retain(|sector, dirty| {
            if dirty.lost {
                let bytes = self.durable.sector(*sector);
                self.visible.write_sector(*sector, 0, &bytes);
            }
            !dirty.lost
        });
        self.lengths.retain(|length| !length.lost);
        let len = self.lengths.last().map_or(self.durable.len, |length| length.len);
        self.visible.resize(len);
        self.allocated.truncate(sectors(0, len).end);
    }

    /// Truncates the file, durably. A lost truncation is not modelled: it would leave the state
    /// before it.
    pub(crate) fn truncate(&mut self, len: u64) {
        if len >= self.visible.len {
            return;
        }
        self.visible.resize(len);
        self.durable.resize(len.min(self.durable.len));
        let end = sectors(0, len).end;
        self.dirty.retain(|sector, _| *sector < end);
        self.lengths.retain(|length| length.len <= len);
        self.allocated.truncate(end);
    }

    /// Returns the file after a power loss.
    pub(crate) fn after_crash(&self, file: &str, choose: &mut dyn FnMut(Choice<'_>) -> u64) -> Self {
        let mut content = self.durable.clone();
        let mut len = content.len;
        if self.visible.len > len {
            let longest = self.visible.len;
            len = choose(Choice::Length { file, durable: len, visible: longest, lengths: &self.lengths })
                .clamp(len, longest);
        }
        let within = sectors(0, len);
        for (sector, dirty) in self.dirty.range(within.clone()) {
            if let Some(bytes) = self.sector_after_crash(file, *sector, &dirty.versions, choose) {
                content.write_sector(*sector, 0, &bytes);
            }
        }
        content.resize(len);
        let mut allocated = self.allocated.clone();
        allocated.truncate(within.end);
        Self { visible: content.clone(), durable: content, allocated, ..Self::default() }
    }

    fn sector_after_crash(
        &self,
        file: &str,
        sector: u64,
        versions: &[Version],
        choose: &mut dyn FnMut(Choice<'_>) -> u64,
    ) -> Option<Sector> {
        // Versions are numbered from 1; 0 is the durable content.
        let numbered = |number: u64| versions.get(usize::try_from(number).ok()?.checked_sub(1)?);
        let number = choose(Choice::Sector { file, sector, versions }).min(versions.len() as u64);
        let version = numbered(number)?;
        let mut bytes = *version.bytes;
        let torn = choose(Choice::Torn { file, sector, number, version });
        if let Some(end) = usize::try_from(torn).ok().filter(|torn| (1..SECTOR).contains(torn)) {
            let under = choose(Choice::Under { file, sector, number });
            let older =
                numbered(under.min(number - 1)).map_or(self.durable.sector(sector), |older| *older.bytes);
            if let (Some(rest), Some(older)) = (bytes.get_mut(end..), older.get(end..)) {
                rest.copy_from_slice(older);
            }
        }
        Some(bytes)
    }
}

/// Returns the sectors of the bytes from `start` to `end`.
pub(crate) fn sectors(start: u64, end: u64) -> Range<u64> {
    start / SECTOR as u64..end.div_ceil(SECTOR as u64)
}
