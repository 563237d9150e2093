//! The effect of each call on the disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::{SECTOR, chunks, slice};
use crate::faults::{CallContext, Errno, Outcome, Plan};
use crate::folder::Folder;
use crate::inode::Inode;
use crate::operation::{InodeId, Name};

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) folder: Folder,
    pub(crate) inodes: BTreeMap<InodeId, Inode>,
    last_id: InodeId,
    /// A counter of all writes and operations on the folder.
    pub(crate) time: u64,
    pub(crate) capacity: Option<u64>,
    pub(crate) locked: bool,
    pub(crate) plan: Plan,
}

impl State {
    pub(crate) fn with(folder: Folder, inodes: BTreeMap<InodeId, Inode>, capacity: Option<u64>) -> Self {
        let last_id = inodes.last_key_value().map_or(0, |(id, _)| *id);
        Self { folder, inodes, last_id, capacity, ..Self::default() }
    }

    pub(crate) fn create(&mut self, file: &str) -> Result<InodeId, Errno> {
        if self.folder.visible.contains_key(file) {
            return Err(Errno::Exists);
        }
        let id = self.add(Inode { handles: 1, ..Inode::default() });
        self.time += 1;
        self.folder.create(file, id, self.time);
        Ok(id)
    }

    pub(crate) fn open(&mut self, file: &str) -> Result<InodeId, Errno> {
        let id = self.named(file)?;
        self.inode_mut(id)?.handles += 1;
        Ok(id)
    }

    pub(crate) fn remove(&mut self, file: &str) -> Result<(), Errno> {
        let id = self.named(file)?;
        self.time += 1;
        self.folder.remove(file, id, self.time);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let id = self.named(from)?;
        if from != to {
            self.time += 1;
            self.folder.rename(from, to, id, self.time);
        }
        Ok(())
    }

    pub(crate) fn sync_folder(&mut self, context: CallContext) -> Result<(), Errno> {
        if context.outcome == Outcome::SyncLost {
            self.folder.lose(context.began);
            return Err(Errno::Io);
        }
        self.folder.sync(context.began);
        self.forget_unused();
        Ok(())
    }

    /// Marks the folder as new.
    pub(crate) fn make_folder(&mut self) {
        self.time += 1;
        self.folder.is_new(self.time);
    }

    pub(crate) fn publish(&mut self, context: CallContext) -> Result<(), Errno> {
        if context.outcome == Outcome::PowerFails {
            return Err(Errno::Io);
        }
        self.folder.made = None;
        self.forget_unused();
        Ok(())
    }

    pub(crate) fn read(
        &self,
        id: InodeId,
        buffer: &mut [u8],
        offset: u64,
        context: CallContext,
    ) -> Result<usize, Errno> {
        let count = if context.outcome == Outcome::Short { half(buffer.len()) } else { buffer.len() };
        let inode = self.inode(id)?;
        Ok(buffer.get_mut(..count).map_or(0, |buffer| inode.visible.read(buffer, offset)))
    }

    pub(crate) fn write(
        &mut self,
        id: InodeId,
        bytes: &[u8],
        offset: u64,
        context: CallContext,
    ) -> Result<usize, Errno> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::TooLarge);
        }
        let halved = matches!(context.outcome, Outcome::Short | Outcome::HalfThenIo);
        let asked = if halved { half(bytes.len()) } else { bytes.len() };
        let count = asked.min(self.space(id, offset, asked)?);
        if count < asked && count == 0 {
            return Err(Errno::Full);
        }
        self.time += 1;
        let time = self.time;
        self.inode_mut(id)?.write(slice(bytes, 0..count), offset, time);
        if context.outcome == Outcome::HalfThenIo { Err(Errno::Io) } else { Ok(count) }
    }

    pub(crate) fn sync(&mut self, id: InodeId, context: CallContext) -> Result<(), Errno> {
        let inode = self.inode_mut(id)?;
        if context.outcome == Outcome::SyncLost {
            inode.lose(context.began);
            return Err(Errno::Io);
        }
        inode.sync(context.began);
        Ok(())
    }

    pub(crate) fn close(&mut self, id: InodeId) {
        if let Ok(inode) = self.inode_mut(id) {
            inode.handles = inode.handles.saturating_sub(1);
            if inode.handles == 0 {
                self.forget_unused();
            }
        }
    }

    /// Returns how many of `len` bytes at `offset` the disk has space for. As on a real disk, that
    /// may be a part of them.
    fn space(&self, id: InodeId, offset: u64, len: usize) -> Result<usize, Errno> {
        let inode = self.inode(id)?;
        // A removed file takes no space, even if it is written to.
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

    pub(crate) fn used_sectors(&self) -> u64 {
        self.files().map(|(_, inode)| inode.allocated.count()).sum()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&Name, &Inode)> {
        self.folder.visible.iter().filter_map(|(name, id)| Some((name, self.inodes.get(id)?)))
    }

    pub(crate) fn add(&mut self, inode: Inode) -> InodeId {
        self.last_id += 1;
        self.inodes.insert(self.last_id, inode);
        self.last_id
    }

    pub(crate) fn named(&self, file: &str) -> Result<InodeId, Errno> {
        self.folder.visible.get(file).copied().ok_or(Errno::NotFound)
    }

    pub(crate) fn inode(&self, id: InodeId) -> Result<&Inode, Errno> {
        self.inodes.get(&id).ok_or(Errno::NotFound)
    }

    pub(crate) fn inode_mut(&mut self, id: InodeId) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&id).ok_or(Errno::NotFound)
    }

    pub(crate) fn forget_unused(&mut self) {
        let reachable: BTreeSet<InodeId> = self.folder.reachable().collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || reachable.contains(id));
    }
}

fn half(count: usize) -> usize {
    count.div_ceil(2)
}
