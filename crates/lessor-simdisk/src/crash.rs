//! The possible states of a disk after a power loss.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::choice::Choice;
use crate::disk::SimDisk;
use crate::folder::Folder;
use crate::history::{Length, Version};
use crate::inode::Inode;
use crate::operation::{InodeId, Operation};
use crate::state::State;

/// The state of a disk at the moment of a power loss: the durable data, and the unsynced data that
/// may survive or not.
///
/// ```
/// use lessor_simdisk::SimDisk;
/// use lessor_vfs::Vfs;
///
/// let disk = SimDisk::new();
/// disk.create("a")?;
/// let crash = disk.crash();
/// assert_eq!(crash.unsynced().operations, 1);
/// assert!(crash.image_lost().file_names().is_empty());
/// assert_eq!(crash.image_kept().file_names(), ["a"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Crash {
    pub(crate) folder: Folder,
    pub(crate) inodes: BTreeMap<InodeId, Inode>,
    capacity: Option<u64>,
}

/// The amount of unsynced data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsynced {
    /// The number of unsynced versions of each sector that has some.
    pub sectors: Vec<usize>,
    /// The number of files with an unsynced length.
    pub lengths: usize,
    /// The number of unsynced operations on the folder.
    pub operations: usize,
}

impl Unsynced {
    /// Returns the number of independent choices.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.sectors.len() + self.lengths + self.operations
    }

    /// Returns an upper bound of the number of possible disks, without tears and with no length but
    /// the durable and the visible one. There are fewer if some choices make others irrelevant.
    #[must_use]
    pub fn combinations(&self) -> u64 {
        let two = std::iter::repeat_n(2, self.lengths + self.operations);
        let of_sectors = self.sectors.iter().map(|versions| *versions as u64 + 1);
        of_sectors.chain(two).fold(1, u64::saturating_mul)
    }
}

impl SimDisk {
    /// Returns the state at this moment. Later calls do not change it.
    #[must_use]
    pub fn crash(&self) -> Crash {
        let state = self.state.lock();
        let may_be_there = state.folder.reachable_after_crash();
        let inodes = may_be_there.filter_map(|id| Some((id, state.inodes.get(&id)?.clone()))).collect();
        Crash { inodes, folder: state.folder.clone(), capacity: state.capacity }
    }
}

impl Crash {
    /// Returns the amount of unsynced data.
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

    /// Returns the disk after the power loss, for the given answers. It has the same capacity, and
    /// no unsynced data, faults or lock.
    ///
    /// Irrelevant choices are not made: the length and sectors of a file that is gone, sectors past
    /// its length, and a rename of a file that is gone.
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
            // The next opening creates the folder again.
            state.make_folder();
        }
        SimDisk { state: Mutex::new(state).into() }
    }

    /// Returns the disk without any unsynced data.
    #[must_use]
    pub fn image_lost(&self) -> SimDisk {
        self.image(&mut |_| 0)
    }

    /// Returns the disk with all unsynced data.
    #[must_use]
    pub fn image_kept(&self) -> SimDisk {
        self.image(&mut |choice| choice.kept())
    }

    /// Returns the times of all unsynced writes and operations, sorted and without duplicates.
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
