//! Copying an open log to another folder.

use std::sync::atomic::Ordering;

use lessor_core::StoreError;
use lessor_vfs::Vfs;

use crate::folder;
use crate::format::names::checkpoint_name;
use crate::format::superblock::{Superblock, SuperblockFile, random_id};
use crate::log::Log;
use crate::maintenance::snapshot::{Target, make};
use crate::problem::Problem;

/// Writes a log to another folder, with all records as they are now.
///
/// The first file in the folder is a checkpoint without a superblock, which no opening accepts as a
/// log. The superblock is the last file. A folder that is created for the backup gets its name only
/// once the file of the checkpoint is in it.
pub(crate) fn backup(log: &Log, vfs: &dyn Vfs) -> Result<(), StoreError> {
    folder::check_empty(vfs)?;
    let id = random_id()?;
    let name = checkpoint_name(1);
    let file = vfs.create(&name).map_err(|error| Problem::io(vfs, &name, "making", error))?;
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;
    vfs.publish().map_err(|error| Problem::io(vfs, "", "syncing the folders above", error))?;
    // Records are copied as of this LSN, or newer.
    let bound = log.committer.visible();
    let to = Target { vfs, id: &id, number: 1, file };
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
    SuperblockFile::create(vfs, block).map_err(|error| abandoned(vfs, error.into()))?;
    Ok(())
}

/// Keeps the file of an incomplete backup, which marks the folder as no log, but empties it.
fn abandoned(vfs: &dyn Vfs, error: StoreError) -> StoreError {
    if let Ok(file) = vfs.open(&checkpoint_name(1)) {
        let _ = file.truncate(0);
    }
    error
}
