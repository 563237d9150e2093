//! What a power loss may leave of a disk.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::choice::Choice;
use crate::disk::SimDisk;
use crate::folder::Folder;
use crate::history::{Length, Version};
use crate::inode::Inode;
use crate::operation::{InodeId, Operation};
use crate::state::State;

/// Everything that a power loss at one moment leaves open, and what it leaves for certain.
#[derive(Clone, Debug)]
pub struct Crash {
    pub(crate) folder: Folder,
    pub(crate) inodes: BTreeMap<InodeId, Inode>,
    capacity: Option<u64>,
}

/// How much a power loss leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// For each sector that was written, how often.
    pub sectors: Vec<usize>,
    /// How many files have grown.
    pub lengths: usize,
    /// How many files were made, renamed or removed.
    pub operations: usize,
}

impl Unsynced {
    /// How many independent choices there are.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.sectors.len() + self.lengths + self.operations
    }

    /// How many disks there may be without tears, and with lengths only as they were before and are now. There are fewer
    /// if some choices make others pointless.
    #[must_use]
    pub fn combinations(&self) -> u64 {
        let two = std::iter::repeat_n(2, self.lengths + self.operations);
        let of_sectors = self.sectors.iter().map(|versions| *versions as u64 + 1);
        of_sectors.chain(two).fold(1, u64::saturating_mul)
    }
}

impl SimDisk {
    /// What a power loss at this moment leaves open. Later calls do not change it.
    #[must_use]
    pub fn crash(&self) -> Crash {
        let state = self.state.lock();
        let may_be_there = state.folder.reachable_after_crash();
        let inodes = may_be_there.filter_map(|id| Some((id, state.inodes.get(&id)?.clone()))).collect();
        Crash { inodes, folder: state.folder.clone(), capacity: state.capacity }
    }
}

impl Crash {
    /// How much is open.
    #[must_use]
    pub fn unsynced(&self) -> Unsynced {
        let inodes = self.inodes.values();
        Unsynced {
            sectors: inodes
                .clone()
                .flat_map(|inode| inode.dirty.values())
                .map(|dirty| dirty.versions.len())
                .collect(),
            lengths: inodes.filter(|inode| inode.visible.len > inode.durable.len).count(),
            operations: self.folder.undecided().count(),
        }
    }

    /// The disk as it is after the power loss, with nothing open, no faults, no lock, and as much room as before.
    ///
    /// What makes no difference any more is not asked for: a file's length and sectors if the file is gone, sectors past
    /// its length, a rename of what is not there.
    pub fn image(&self, choose: &mut dyn FnMut(Choice<'_>) -> u64) -> SimDisk {
        let mut is_there = true;
        let names = self.folder.after_crash(&mut |choice| {
            let answer = choose(choice);
            is_there &=
                answer > 0 || !matches!(choice, Choice::Operation(operation) if operation.what() == "make");
            answer
        });
        let files = names.iter().filter_map(|(name, id)| Some((name, id, self.inodes.get(id)?)));
        let inodes = files.map(|(name, id, inode)| (*id, inode.after_crash(name, choose))).collect();
        let folder = Folder { visible: names.clone(), durable: names, ..Folder::default() };
        let mut state = State::with(folder, inodes, self.capacity);
        if !is_there {
            // The next opening makes it anew.
            state.make_folder();
        }
        SimDisk { state: Mutex::new(state).into() }
    }

    /// The disk if everything that was not synced is lost.
    #[must_use]
    pub fn image_lost(&self) -> SimDisk {
        self.image(&mut |_| 0)
    }

    /// The disk if nothing is lost.
    #[must_use]
    pub fn image_kept(&self) -> SimDisk {
        self.image(&mut |choice| choice.kept())
    }

    /// The times at which something happened that may be lost, each once, in order.
    #[must_use]
    pub fn times(&self) -> Vec<u64> {
        let inodes = self.inodes.values();
        let versions =
            inodes.clone().flat_map(|inode| inode.dirty.values()).flat_map(|dirty| &dirty.versions);
        let lengths = inodes.flat_map(|inode| &inode.lengths);
        let operations = self.folder.undecided().map(Operation::time);
        let mut times: Vec<u64> =
            versions.map(Version::time).chain(lengths.map(Length::time)).chain(operations).collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}
