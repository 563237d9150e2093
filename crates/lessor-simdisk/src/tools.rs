//! What a test does to a disk, and what it sees of it, other than through the log's eyes. None of this counts as a call.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::content::{Content, SECTOR, to_usize};
use crate::disk::SimDisk;
use crate::faults::{CallKind, Errno, Fault, Hook, Power, When};
use crate::inode::Inode;
use crate::operation::InodeId;
use crate::state::State;

/// What goes wrong, and when.
impl SimDisk {
    /// Has a call fail. Of several faults that fit, the first that was asked for happens.
    pub fn fail(&self, when: When, fault: Fault) {
        self.state.lock().plan.faults.push((when, fault));
    }

    /// Has no call fail any more. The power stays as it is.
    pub fn clear_faults(&self) {
        self.state.lock().plan.faults.clear();
    }

    /// The power fails before the mutating call with that number, counted from 1 since the disk was made: it and every
    /// later call say EIO and change nothing.
    pub fn power_off_at(&self, mutation: u64) {
        self.state.lock().plan.power = Power::Until { mutation, during: false };
    }

    /// The power fails while the mutating call with that number is under way: what it does may happen, like everything
    /// that was not synced, or parts of it; a sync does nothing. It and every later call say EIO.
    pub fn power_off_during(&self, mutation: u64) {
        self.state.lock().plan.power = Power::Until { mutation, during: true };
    }

    /// The power fails now: every later call says EIO and changes nothing.
    pub fn power_off(&self) {
        self.state.lock().plan.power = Power::Off;
    }

    /// How many bytes the files may take together, in whole sectors; `None` for as many as they like. A write that needs
    /// more does what there is room for, and says ENOSPC if that is nothing. What was written once is overwritten without
    /// more room. A file that is removed gives its room back at once, even if it is still open.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Calls `hook` before each call of the disk, with no lock held. The hook may block, which delays the call, and look
    /// at the disk. A hook that holds the disk keeps it in memory until it is replaced.
    pub fn on_call(&self, hook: Option<Hook>) {
        self.state.lock().plan.hook = hook;
    }

    /// How many calls there were. One that is held up in the hook counts.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().plan.calls
    }

    /// How many calls of that kind there were.
    #[must_use]
    pub fn calls_of(&self, kind: CallKind) -> u64 {
        self.state.lock().plan.calls_of(kind)
    }

    /// How many mutating calls there were, see [`CallKind::mutates`].
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.state.lock().plan.mutations
    }

    /// The disk of a machine that lives on while the process is killed: what shows stays, and what was not synced still
    /// is not. A disk of its own, with no handles, no lock and no faults; its calls count from 1.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state.lock();
        let inodes = state.inodes.iter().map(|(id, inode)| (*id, Inode { handles: 0, ..inode.clone() }));
        let mut forked = State::with(state.folder.clone(), inodes.collect(), state.capacity);
        forked.time = state.time;
        forked.forget_unused();
        Self { state: parking_lot::Mutex::new(forked).into() }
    }

    /// What a failed sync has lost does not show any more either: the machine needed the memory. See
    /// [`Fault::SyncLost`].
    pub fn evict_lost(&self) {
        self.state.lock().inodes.values_mut().for_each(Inode::evict);
    }
}

/// Damage. Each method panics if there is no such file.
impl SimDisk {
    /// Makes a file with that content, or replaces it by a new one, durably.
    pub fn put(&self, file: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let id = state.add(Inode::with(bytes));
        state.folder.settle(file, Some(id));
        state.forget_unused();
    }

    /// Takes a file away, durably.
    #[track_caller]
    pub fn take_away(&self, file: &str) {
        self.change(file, |state, _| state.folder.settle(file, None));
    }

    /// Turns a bit of a file over, wherever the file's bytes are. Bit 0 is the lowest of the first byte. Past the file's
    /// end it does nothing.
    #[track_caller]
    pub fn flip_bit(&self, file: &str, bit: u64) {
        self.change(file, |state, id| {
            if let Some(inode) = state.inodes.get_mut(&id) {
                inode.flip_bit(bit);
            }
        });
    }

    /// Cuts a file to a length, or fills it up with zeros, durably. What the file shows is durable then.
    #[track_caller]
    pub fn truncate(&self, file: &str, len: u64) {
        self.change(file, |state, id| {
            if let Some(inode) = state.inodes.get_mut(&id) {
                inode.truncate(len);
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

/// A look at the disk.
impl SimDisk {
    /// What a file shows. Panics if there is no such file.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, file: &str) -> Vec<u8> {
        let state = self.state.lock();
        let id = state.named(file);
        found(id.and_then(|id| state.inode(id)), file).visible.bytes()
    }

    /// What a power loss leaves of a file if it takes everything it may, except the file's name. Panics if there is no
    /// such file.
    #[must_use]
    #[track_caller]
    pub fn durable_bytes(&self, file: &str) -> Vec<u8> {
        let state = self.state.lock();
        let id = state.named(file);
        found(id.and_then(|id| state.inode(id)), file).durable.bytes()
    }

    /// The names that show, sorted.
    #[must_use]
    pub fn file_names(&self) -> Vec<String> {
        self.state.lock().folder.visible.keys().map(|name| name.to_string()).collect()
    }

    /// The lengths of all files that show, together.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.state.lock().files().map(|(_, inode)| inode.visible.len).sum()
    }

    /// How many bytes of the capacity are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.lock().used_sectors() * SECTOR as u64
    }

    /// The same for disks that show the same, and for hardly any others.
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

    fn truncate(&mut self, len: u64) {
        self.visible.resize(len);
        self.durable = self.visible.clone();
        self.dirty.clear();
        self.lengths.clear();
        self.allocated.cut(len.div_ceil(SECTOR as u64));
    }
}

fn flip(bytes: &mut [u8], inside: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(inside) {
        *byte ^= mask;
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "the test has named a file that is not there")]
fn found<T>(found: Result<T, Errno>, file: &str) -> T {
    found.unwrap_or_else(|_| panic!("the simulated disk has no file named {file:?}"))
}
