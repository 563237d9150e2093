//! What each call does to the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::Turn;
use super::content::{SECTOR, chunks, slice};
use super::faults::{Errno, Outcome, Plan};
use super::folder::{Folder, InodeId, Name};
use super::inode::Inode;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) folder: Folder,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    last_id: InodeId,
    /// Counts everything that was written or done to the folder.
    pub(super) time: u64,
    pub(super) capacity: Option<u64>,
    pub(super) locked: bool,
    pub(super) plan: Plan,
}

impl State {
    pub(super) fn with(folder: Folder, inodes: BTreeMap<InodeId, Inode>, capacity: Option<u64>) -> Self {
        let last_id = inodes.last_key_value().map_or(0, |(id, _)| *id);
        Self { folder, inodes, last_id, capacity, ..Self::default() }
    }

    pub(super) fn create(&mut self, file: &str) -> Result<InodeId, Errno> {
        if self.folder.visible.contains_key(file) {
            return Err(Errno::Exists);
        }
        let id = self.add(Inode { handles: 1, ..Inode::default() });
        self.time += 1;
        self.folder.create(file, id, self.time);
        Ok(id)
    }

    pub(super) fn open(&mut self, file: &str) -> Result<InodeId, Errno> {
        let id = self.named(file)?;
        self.inode_mut(id)?.handles += 1;
        Ok(id)
    }

    pub(super) fn remove(&mut self, file: &str) -> Result<(), Errno> {
        let id = self.named(file)?;
        self.time += 1;
        self.folder.remove(file, id, self.time);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let id = self.named(from)?;
        if from != to {
            self.time += 1;
            self.folder.rename(from, to, id, self.time);
        }
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, turn: Turn) -> Result<(), Errno> {
        if turn.outcome == Outcome::SyncLost {
            self.folder.lose(turn.began);
            return Err(Errno::Io);
        }
        self.folder.sync(turn.began);
        self.forget_unused();
        Ok(())
    }

    /// The folder is a new one.
    pub(super) fn make_folder(&mut self) {
        self.time += 1;
        self.folder.is_new(self.time);
    }

    pub(super) fn settle(&mut self, turn: Turn) -> Result<(), Errno> {
        if turn.outcome == Outcome::PowerFails {
            return Err(Errno::Io);
        }
        self.folder.made = None;
        self.forget_unused();
        Ok(())
    }

    pub(super) fn read(
        &self,
        id: InodeId,
        buffer: &mut [u8],
        offset: u64,
        turn: Turn,
    ) -> Result<usize, Errno> {
        let count = if turn.outcome == Outcome::Short { half(buffer.len()) } else { buffer.len() };
        let inode = self.inode(id)?;
        Ok(buffer.get_mut(..count).map_or(0, |buffer| inode.visible.read(buffer, offset)))
    }

    pub(super) fn write(
        &mut self,
        id: InodeId,
        bytes: &[u8],
        offset: u64,
        turn: Turn,
    ) -> Result<usize, Errno> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::TooLarge);
        }
        let halved = matches!(turn.outcome, Outcome::Short | Outcome::HalfThenIo);
        let asked = if halved { half(bytes.len()) } else { bytes.len() };
        let count = asked.min(self.room(id, offset, asked)?);
        if count < asked && count == 0 {
            return Err(Errno::Full);
        }
        self.time += 1;
        let time = self.time;
        self.inode_mut(id)?.write(slice(bytes, 0..count), offset, time);
        if turn.outcome == Outcome::HalfThenIo { Err(Errno::Io) } else { Ok(count) }
    }

    pub(super) fn sync(&mut self, id: InodeId, turn: Turn) -> Result<(), Errno> {
        let inode = self.inode_mut(id)?;
        if turn.outcome == Outcome::SyncLost {
            inode.lose(turn.began);
            return Err(Errno::Io);
        }
        inode.sync(turn.began);
        Ok(())
    }

    pub(super) fn close(&mut self, id: InodeId) {
        if let Ok(inode) = self.inode_mut(id) {
            inode.handles = inode.handles.saturating_sub(1);
            if inode.handles == 0 {
                self.forget_unused();
            }
        }
    }

    /// How many of `len` bytes at `offset` there is room for. As on a real disk, that may be some of them.
    fn room(&self, id: InodeId, offset: u64, len: usize) -> Result<usize, Errno> {
        let inode = self.inode(id)?;
        // A removed file takes no room, not even if it is written to.
        let Some(capacity) = self.capacity.filter(|_| self.folder.visible.values().any(|named| *named == id))
        else {
            return Ok(len);
        };
        let mut free = (capacity / SECTOR as u64).saturating_sub(self.used_sectors());
        for chunk in chunks(offset, len, SECTOR) {
            if !inode.allocated.contains(chunk.unit) {
                if free == 0 {
                    return Ok(chunk.part.start);
                }
                free -= 1;
            }
        }
        Ok(len)
    }

    pub(super) fn used_sectors(&self) -> u64 {
        self.files().map(|(_, inode)| inode.allocated.count()).sum()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Name, &Inode)> {
        self.folder.visible.iter().filter_map(|(name, id)| Some((name, self.inodes.get(id)?)))
    }

    pub(super) fn add(&mut self, inode: Inode) -> InodeId {
        self.last_id += 1;
        self.inodes.insert(self.last_id, inode);
        self.last_id
    }

    pub(super) fn named(&self, file: &str) -> Result<InodeId, Errno> {
        self.folder.visible.get(file).copied().ok_or(Errno::NotFound)
    }

    pub(super) fn inode(&self, id: InodeId) -> Result<&Inode, Errno> {
        self.inodes.get(&id).ok_or(Errno::NotFound)
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&id).ok_or(Errno::NotFound)
    }

    pub(super) fn forget_unused(&mut self) {
        let reachable: BTreeSet<InodeId> = self.folder.reachable().collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || reachable.contains(id));
    }
}

fn half(count: usize) -> usize {
    count.div_ceil(2)
}
