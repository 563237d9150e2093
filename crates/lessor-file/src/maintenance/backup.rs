//! Copying an open log to another folder.

use std::sync::atomic::Ordering;

use lessor_core::StoreError;
use lessor_vfs::Vfs;

use crate::folder;
use crate::format::names::checkpoint_name;
use crate::format::superblock::{Keeper, Superblock, random_id};
use crate::log::Log;
use crate::maintenance::snapshot::{To, make};
use crate::problem::Problem;

/// Writes a log of its own to another folder, with all records as they are now.
///
/// The first thing in the folder is a checkpoint without a superblock, which no opening takes for a log, and the last one is the superblock. A folder
/// that is made for the backup gets its name only once the checkpoint's file is in it.
pub(crate) fn backup(log: &Log, vfs: &dyn Vfs) -> Result<(), StoreError> {
    folder::check_empty(vfs)?;
    let id = random_id()?;
    let name = checkpoint_name(1);
    let file = vfs.create(&name).map_err(|error| Problem::io(vfs, &name, "making", error))?;
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;
    vfs.settle().map_err(|error| Problem::io(vfs, "", "syncing the folders above", error))?;
    // Up to what is visible now, or newer.
    let bound = log.committer.visible();
    let to = To { vfs, id: &id, number: 1, file };
    let (checkpoint, _) =
        make(log, &to, bound + 1, bound, &mut |_| Ok(())).map_err(|error| abandoned(vfs, error))?;
    let (now, _) = log.clock.now();
    let wall = log.clock.wall();
    let mut block = Superblock::first(id);
    block.name_checkpoint(&checkpoint);
    block.epoch = log.epoch;
    block.clock = log.clock.next_reservation();
    block.lead = now.as_micros().saturating_sub(wall.as_micros());
    block.purged = log.token_floor.load(Ordering::Acquire);
    block.is_clean = false;
    Keeper::create(vfs, block).map_err(|error| abandoned(vfs, error.into()))?;
    Ok(())
}

/// What there is of a backup stays, as proof that it is none, but takes no room.
fn abandoned(vfs: &dyn Vfs, error: StoreError) -> StoreError {
    if let Ok(file) = vfs.open(&checkpoint_name(1)) {
        let _ = file.cut(0);
    }
    error
}
