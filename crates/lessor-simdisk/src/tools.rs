//! Control and inspection of the disk by tests. None of these methods counts as a call.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::content::{Content, SECTOR, to_usize};
use crate::disk::SimDisk;
use crate::faults::{CallKind, Errno, Fault, Hook, Power, When};
use crate::inode::Inode;
use crate::operation::InodeId;
use crate::state::State;

/// Fault injection.
impl SimDisk {
    /// Makes a call fail. If several faults match a call, the first one that was added applies.
    pub fn fail(&self, when: When, fault: Fault) {
        self.state.lock().plan.faults.push((when, fault));
    }

    /// Removes all faults. Does not switch the power on again.
    pub fn clear_faults(&self) {
        self.state.lock().plan.faults.clear();
    }

    /// Fails the power before the mutating call with this number, counted from 1. That call and all
    /// later ones fail with EIO and change nothing.
    pub fn power_off_at(&self, mutation: u64) {
        self.state.lock().plan.power = Power::Until { mutation, during: false };
    }

    /// Fails the power during the mutating call with this number, counted from 1. The effect of
    /// that call is unsynced, so that it may happen in part; a sync has no effect. That call and
    /// all later ones fail with EIO.
    pub fn power_off_during(&self, mutation: u64) {
        self.state.lock().plan.power = Power::Until { mutation, during: true };
    }

    /// Fails the power now. All later calls fail with EIO and change nothing.
    pub fn power_off(&self) {
        self.state.lock().plan.power = Power::Off;
    }

    /// Limits the total size of all files to `bytes`, in whole sectors. `None` removes the limit. A
    /// write that needs more space is shortened, and fails with ENOSPC if no space is left.
    /// Overwriting needs no space. Removing a file frees its space immediately, even if it is open.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Calls `hook` before each call, without a lock held. The hook may block the call, and inspect
    /// the disk. A hook that owns the disk keeps it in memory until the hook is replaced.
    pub fn on_call(&self, hook: Option<Hook>) {
        self.state.lock().plan.hook = hook;
    }

    /// Returns the number of calls so far, including one that the hook blocks.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().plan.calls
    }

    /// Returns the number of calls of this kind so far.
    #[must_use]
    pub fn calls_of(&self, kind: CallKind) -> u64 {
        self.state.lock().plan.calls_of(kind)
    }

    /// Returns the number of mutating calls so far; see [`CallKind::mutates`].
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.state.lock().plan.mutations
    }

    /// Returns the disk as a killed process leaves it: visible data stays, and unsynced data stays
    /// unsynced. The copy is independent, without handles, lock and faults, and counts its calls
    /// from 1.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state.lock();
        let inodes = state.inodes.iter().map(|(id, inode)| (*id, Inode { handles: 0, ..inode.clone() }));
        let mut forked = State::with(state.folder.clone(), inodes.collect(), state.capacity);
        forked.time = state.time;
        forked.forget_unused();
        Self { state: parking_lot::Mutex::new(forked).into() }
    }

    /// Makes data that was lost by a failed sync invisible, as a machine short of memory does. See
    /// [`Fault::SyncLost`].
    pub fn evict_lost(&self) {
        self.state.lock().inodes.values_mut().for_each(Inode::evict);
    }
}

/// Damage. The methods panic if the file does not exist.
impl SimDisk {
    /// Creates or replaces a file with this content, durably.
    pub fn put(&self, file: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let id = state.add(Inode::with(bytes));
        state.folder.set(file, Some(id));
        state.forget_unused();
    }

    /// Removes a file, durably.
    #[track_caller]
    pub fn delete(&self, file: &str) {
        self.change(file, |state, _| state.folder.set(file, None));
    }

    /// Flips a bit of a file, in all versions of its content. Bit 0 is the lowest bit of the first
    /// byte. Has no effect past the end of the file.
    #[track_caller]
    pub fn flip_bit(&self, file: &str, bit: u64) {
        self.change(file, |state, id| {
            if let Some(inode) = state.inodes.get_mut(&id) {
                inode.flip_bit(bit);
            }
        });
    }

    /// Truncates or extends a file to `len` bytes, durably. All visible content becomes durable.
    #[track_caller]
    pub fn truncate(&self, file: &str, len: u64) {
        self.change(file, |state, id| {
            if let Some(inode) = state.inodes.get_mut(&id) {
                inode.set_len(len);
            }
        });
    }

    #[track_caller]
    fn change(&self, file: &str, change: impl FnOnce(&mut State, InodeId)) {
        let mut state = self.state.lock();
        let id = found(state.named(file), file);
        change(&mut state, id);
        state.forget_unused();
    }
}

/// Inspection.
impl SimDisk {
    /// Returns the visible content of a file. Panics if the file does not exist.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, file: &str) -> Vec<u8> {
        let state = self.state.lock();
        let id = state.named(file);
        found(id.and_then(|id| state.inode(id)), file).visible.bytes()
    }

    /// Returns the durable content of a file. Panics if the file does not exist.
    #[must_use]
    #[track_caller]
    pub fn durable_bytes(&self, file: &str) -> Vec<u8> {
        let state = self.state.lock();
        let id = state.named(file);
        found(id.and_then(|id| state.inode(id)), file).durable.bytes()
    }

    /// Returns the visible names, sorted.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        self.state.lock().folder.visible.keys().map(|name| name.to_string()).collect()
    }

    /// Returns the total visible length of all files.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.state.lock().files().map(|(_, inode)| inode.visible.len).sum()
    }

    /// Returns the number of bytes of the capacity in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.lock().used_sectors() * SECTOR as u64
    }

    /// Returns a hash of all visible names and content.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        let state = self.state.lock();
        let mut hasher = FixedState::with_seed(0).build_hasher();
        for (name, inode) in state.files() {
            name.hash(&mut hasher);
            inode.visible.hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Hash for Content {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.len.hash(hasher);
        self.pages().for_each(|page| page.hash(hasher));
    }
}

impl Inode {
    fn flip_bit(&mut self, bit: u64) {
        let (byte, mask) = (bit / 8, 1_u8 << (bit % 8));
        let (sector, inside) = (byte / SECTOR as u64, to_usize(byte % SECTOR as u64));
        for content in [&mut self.visible, &mut self.durable] {
            if byte < content.len {
                let mut bytes = content.sector(sector);
                flip(&mut bytes, inside, mask);
                content.write_sector(sector, 0, &bytes);
            }
        }
        for version in self.dirty.get_mut(&sector).into_iter().flat_map(|dirty| &mut dirty.versions) {
            version.change(|bytes| flip(bytes, inside, mask));
        }
    }

    fn set_len(&mut self, len: u64) {
        self.visible.resize(len);
        self.durable = self.visible.clone();
        self.dirty.clear();
        self.lengths.clear();
        self.allocated.truncate(len.div_ceil(SECTOR as u64));
    }
}

fn flip(bytes: &mut [u8], inside: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(inside) {
        *byte ^= mask;
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "the test named a file that does not exist")]
fn found<T>(found: Result<T, Errno>, file: &str) -> T {
    found.unwrap_or_else(|_| panic!("the simulated disk has no file named {file:?}"))
}
