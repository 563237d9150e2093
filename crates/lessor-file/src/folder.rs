//! Opening the folder of a log, and in which folders a log is made.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lessor_core::StoreError;

use crate::disk::Disk;
use crate::format::names::{LOCK, SUPERBLOCK, SUPERBLOCK_NEW, checkpoint_number, segment_number};
use crate::problem::{Problem, remedy};
use lessor_vfs::{Lock, Vfs};

/// Opens a folder, and makes it first if it is not there.
pub(crate) fn open(folder: &Path) -> Result<Disk, StoreError> {
    Disk::open(folder).map_err(|error| unopened(folder, &error))
}

/// Opens a folder for a backup. One that is not there gets its name only once something is in it.
pub(crate) fn open_new(folder: &Path) -> Result<Disk, StoreError> {
    Disk::open_or_prepare(folder).map_err(|error| unopened(folder, &error))
}

/// Opens a folder that is there already.
pub(crate) fn open_existing(folder: &Path) -> Result<Disk, StoreError> {
    existing(folder, |folder| Disk::open(folder))
}

/// The same, to read only: nothing in it changes.
pub(crate) fn open_to_read(folder: &Path) -> Result<Disk, StoreError> {
    existing(folder, |folder| Disk::open_to_read(folder))
}

fn existing(folder: &Path, open: fn(&Path) -> io::Result<Disk>) -> Result<Disk, StoreError> {
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => open(folder).map_err(|error| unopened(folder, &error)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unopened(folder, &error)),
        _ => Err(StoreError::Misconfigured { reason: format!("there is no folder {}", folder.display()) }),
    }
}

fn unopened(folder: &Path, error: &io::Error) -> StoreError {
    let to_do = match error.kind() {
        io::ErrorKind::NotFound => Some("make its parent folder first"),
        io::ErrorKind::NotADirectory => Some("it has to be a folder, and no symbolic link"),
        _ => remedy(error),
    };
    let reason = format!("opening the folder {}: {error}", folder.display());
    match to_do {
        Some(to_do) => StoreError::Misconfigured { reason: format!("{reason}; {to_do}") },
        None => StoreError::Unavailable { reason },
    }
}

/// The error for a folder that holds no log, where one has to be.
pub(crate) fn no_log(vfs: &dyn Vfs) -> StoreError {
    StoreError::Misconfigured { reason: format!("there is no log in {}", vfs.place()) }
}

/// Whether a folder holds a log, or what is left of one.
pub(crate) fn has_log(vfs: &dyn Vfs) -> Result<bool, StoreError> {
    Ok(contents(vfs, |_| true)?.has_log)
}

/// Refuses a folder that holds anything else and no log, before anything is written to it: a log is made only in a folder that is
/// empty, or in which a creation was interrupted.
pub(crate) fn check_own(vfs: &dyn Vfs) -> Result<(), StoreError> {
    let found = contents(vfs, |name| name == LOCK || name == SUPERBLOCK_NEW)?;
    match found.other {
        Some(name) if !found.has_log => Err(occupied(vfs, "there is no log in", &name)),
        _ => Ok(()),
    }
}

/// Refuses a folder that holds anything at all.
pub(crate) fn check_empty(vfs: &dyn Vfs) -> Result<(), StoreError> {
    let mut first = None;
    each_entry(vfs, &mut |name| keep_first(&mut first, name))?;
    first.map_or(Ok(()), |name| Err(occupied(vfs, "nothing was written to", &name)))
}

fn occupied(vfs: &dyn Vfs, what: &str, name: &str) -> StoreError {
    let place = vfs.place();
    let place = place.trim_end_matches('/');
    let reason = format!(
        "{what} {place}/, because {name:?} is there, and a log is only made in an empty folder; name one of its own, such as \
         {place}/leases, or move away what is there"
    );
    StoreError::Misconfigured { reason }
}

struct Contents {
    has_log: bool,
    /// The first name, in alphabetical order, that is no part of a log and not expected.
    other: Option<String>,
}

fn contents(vfs: &dyn Vfs, is_expected: impl Fn(&str) -> bool) -> Result<Contents, StoreError> {
    let mut found = Contents { has_log: false, other: None };
    each_entry(vfs, &mut |name| {
        if name == SUPERBLOCK || segment_number(name).is_some() || checkpoint_number(name).is_some() {
            found.has_log = true;
        } else if !is_expected(name) {
            keep_first(&mut found.other, name);
        }
    })?;
    Ok(found)
}

fn keep_first(first: &mut Option<String>, name: &str) {
    if first.as_deref().is_none_or(|first| name < first) {
        *first = Some(name.to_owned());
    }
}

fn each_entry(vfs: &dyn Vfs, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
    Ok(vfs.each_entry(each).map_err(|error| Problem::io(vfs, "", "listing", error))?)
}

/// Takes the folder, and waits a while for whoever has it.
#[expect(clippy::disallowed_methods, reason = "waits for another process, which nothing tells of")]
pub(crate) fn lock(vfs: &dyn Vfs, patience: Duration) -> Result<Lock, StoreError> {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let name = LOCK;
        match vfs.try_lock(name).map_err(|error| Problem::io(vfs, name, "locking", error))? {
            Some(lock) => return Ok(lock),
            None if waited >= patience => {
                return Err(Problem::Locked { place: vfs.place(), holder: vfs.lock_holder(name) }.into());
            }
            None => thread::sleep(LOOK_EVERY),
        }
        waited += LOOK_EVERY;
    }
}
