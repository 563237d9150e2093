//! Opening and locking the folder of a log, and the rules for which folders a log is created in.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lessor_core::StoreError;
use lessor_vfs::{Lock, Vfs};

use crate::disk::Disk;
use crate::format::names::{LOCK, SUPERBLOCK, SUPERBLOCK_NEW, checkpoint_number, segment_number};
use crate::problem::{Problem, from_io};

/// Opens a folder, and creates it if it does not exist.
pub(crate) fn open(folder: &Path) -> Result<Disk, StoreError> {
    Disk::open(folder).map_err(|error| open_failed(folder, error))
}

/// Opens a folder for a backup. A new folder gets its name only once it has a file in it.
pub(crate) fn open_new(folder: &Path) -> Result<Disk, StoreError> {
    Disk::open_or_stage(folder).map_err(|error| open_failed(folder, error))
}

/// Opens an existing folder.
pub(crate) fn open_existing(folder: &Path) -> Result<Disk, StoreError> {
    existing(folder, |folder| Disk::open(folder))
}

/// Opens an existing folder read-only.
pub(crate) fn open_read_only(folder: &Path) -> Result<Disk, StoreError> {
    existing(folder, |folder| Disk::open_read_only(folder))
}

fn existing(folder: &Path, open: fn(&Path) -> io::Result<Disk>) -> Result<Disk, StoreError> {
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => open(folder).map_err(|error| open_failed(folder, error)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(open_failed(folder, error)),
        _ => Err(StoreError::misconfigured(format!("there is no folder {}", folder.display()))),
    }
}

fn open_failed(folder: &Path, error: io::Error) -> StoreError {
    let to_do = match error.kind() {
        io::ErrorKind::NotFound => Some("make its parent folder first"),
        io::ErrorKind::NotADirectory => Some("the path must be a folder and no symbolic link"),
        _ => None,
    };
    let failed = format!("opening the folder {} failed", folder.display());
    match to_do {
        Some(to_do) => StoreError::misconfigured(format!("{failed}; {to_do}")).with_source(error),
        None => from_io(&failed, error),
    }
}

/// Returns the error for a folder without a log, where a log is required.
pub(crate) fn no_log(vfs: &dyn Vfs) -> StoreError {
    StoreError::misconfigured(format!("there is no log in {}", vfs.describe()))
}

/// Returns whether a folder holds a log or remains of one.
pub(crate) fn has_log(vfs: &dyn Vfs) -> Result<bool, StoreError> {
    Ok(contents(vfs, |_| true)?.has_log)
}

/// Refuses a folder that has no log but other content, before anything is written to it. A log is
/// created only in an empty folder, or where an earlier creation was interrupted.
pub(crate) fn check_own(vfs: &dyn Vfs) -> Result<(), StoreError> {
    let found = contents(vfs, |name| name == LOCK || name == SUPERBLOCK_NEW)?;
    match found.other {
        Some(name) if !found.has_log => Err(not_empty(vfs, "there is no log in", &name)),
        _ => Ok(()),
    }
}

/// Refuses a folder that is not empty.
pub(crate) fn check_empty(vfs: &dyn Vfs) -> Result<(), StoreError> {
    let mut first = None;
    each_entry(vfs, &mut |name| keep_first(&mut first, name))?;
    first.map_or(Ok(()), |name| Err(not_empty(vfs, "nothing was written to", &name)))
}

fn not_empty(vfs: &dyn Vfs, what: &str, name: &str) -> StoreError {
    let place = vfs.describe();
    let place = place.trim_end_matches('/');
    let reason = format!(
        "{what} {place}/, because it contains {name:?} and a log is created only in an empty folder; use a new folder such as \
         {place}/leases, or empty this one"
    );
    StoreError::misconfigured(reason)
}

struct Contents {
    has_log: bool,
    /// The first unexpected name, in alphabetical order, that is not part of a log.
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
    Ok(vfs.for_each_entry(each).map_err(|error| Problem::io(vfs, "", "listing", error))?)
}

/// Locks the folder. Waits up to `patience` for another process to release it.
#[expect(clippy::disallowed_methods, reason = "polls for another process, which sends no notification")]
pub(crate) fn lock(vfs: &dyn Vfs, patience: Duration) -> Result<Lock, StoreError> {
    const POLL_EVERY: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let name = LOCK;
        match vfs.try_lock(name).map_err(|error| Problem::io(vfs, name, "locking", error))? {
            Some(lock) => return Ok(lock),
            None if waited >= patience => {
                return Err(Problem::Locked { place: vfs.describe(), holder: vfs.lock_holder(name) }.into());
            }
            None => thread::sleep(POLL_EVERY),
        }
        waited += POLL_EVERY;
    }
}
