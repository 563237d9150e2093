//! What a power loss may leave of a disk.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::SimDisk;
use super::folder::{Folder, InodeId, Operation};
use super::inode::{Inode, Length, Version};
use super::state::State;

/// Everything that a power loss at one moment leaves open, and what it leaves for certain.
#[derive(Clone, Debug)]
pub struct Crash {
    pub(super) folder: Folder,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    capacity: Option<u64>,
}

/// One thing that a power loss decides. The answer 0 always is that what was not synced is lost; an answer that is too
/// large is taken for the largest there is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Choice<'a> {
    /// 1: it happened.
    Operation(&'a Operation),
    /// The file's length, from the durable one to the one that shows.
    #[expect(missing_docs, reason = "said above")]
    Length { file: &'a str, durable: u64, visible: u64, lengths: &'a [Length] },
    /// Which version of a sector there is: 0 for the durable one, then those written since, in order.
    #[expect(missing_docs, reason = "said above")]
    Sector { file: &'a str, sector: u64, versions: &'a [Version] },
    /// How many bytes of that version there are, 1 to 511, before it goes on as an older one. 0: all of it.
    #[expect(missing_docs, reason = "said above")]
    Torn { file: &'a str, sector: u64, number: u64, version: &'a Version },
    /// As which older version, 0 to `number` - 1, the torn sector goes on.
    #[expect(missing_docs, reason = "said above")]
    Under { file: &'a str, sector: u64, number: u64 },
}

impl Choice<'_> {
    /// The answer that keeps everything.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.as_of(u64::MAX)
    }

    /// The answer that keeps what was done up to that time and nothing later, and tears nothing.
    #[must_use]
    pub fn as_of(&self, time: u64) -> u64 {
        match self {
            Self::Operation(operation) => u64::from(operation.time() <= time),
            Self::Length { durable, lengths, .. } => {
                let reached = lengths.iter().filter(|length| length.time() <= time);
                reached.map(Length::bytes).fold(*durable, u64::max)
            }
            Self::Sector { versions, .. } => {
                versions.partition_point(|version| version.time() <= time) as u64
            }
            Self::Torn { .. } | Self::Under { .. } => 0,
        }
    }

    /// How many answers there are without tears, and with lengths only as they were before and are now.
    #[must_use]
    pub fn options(&self) -> u64 {
        match self {
            Self::Operation(_) | Self::Length { .. } => 2,
            Self::Sector { versions, .. } => versions.len() as u64 + 1,
            Self::Torn { .. } | Self::Under { .. } => 1,
        }
    }
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
