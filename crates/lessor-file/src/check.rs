//! Inspection of logs, and salvage of damaged ones. The commands `verify`, `dump` and `truncate` of
//! the program `lessor` (crate `lessor-cli`) are thin wrappers around this module.
//!
//! - [`verify`] reads everything and changes nothing.
//! - [`dump`] lists the records, without lease ids, results, checkpoints and metadata.
//! - [`plan`] reports what a truncation would lose, and [`truncate`] truncates.
//!
//! All functions hold the lock of the folder, so the log must not be open. [`verify`], [`dump`] and
//! [`plan`] neither create nor write any file, and work on read-only media.
//!
//! # Errors
//! All functions fail with [`StoreError::Misconfigured`] if there is no log in the folder, with
//! [`StoreError::Unavailable`] if another process has it open or it cannot be read, and with
//! [`StoreError::Incompatible`] if a newer version wrote it.

mod report;
mod summary;
mod truncate;
mod walk;

use std::path::Path;

use lessor_core::{Error, StoreError};
use lessor_vfs::{Lock, Vfs};

use crate::folder;
use crate::settings::Settings;

pub use report::{Damage, FileReport, Position, Report, Verdict};
pub use summary::RecordSummary;
pub use truncate::{LostFrame, LostKey, OlderState, TruncateFrom, Truncation};

/// Reads the log in a folder as an opening does, and decodes every record. Changes nothing. Damage
/// is part of the report, not an error.
///
/// ```
/// use lessor_file::{FileStore, check};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("leases");
/// FileStore::open(&folder)?.close()?;
/// assert!(check::verify(&folder)?.is_sound());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(folder: impl AsRef<Path>) -> Result<Report, Error> {
    verify_on(&folder::open_read_only(folder.as_ref())?)
}

/// Verifies the log on a custom disk, as [`verify`] does.
pub fn verify_on(vfs: &dyn Vfs) -> Result<Report, Error> {
    let _lock = lock(vfs)?;
    Ok(report::read(vfs, &mut |_| {})?.report)
}

/// Calls `each` with a summary of every record in the log of a folder, sorted by key. If the log is
/// damaged, the records before the damage are listed.
pub fn dump(folder: impl AsRef<Path>, each: impl FnMut(&RecordSummary)) -> Result<Report, Error> {
    dump_on(&folder::open_read_only(folder.as_ref())?, each)
}

/// Lists the records of the log on a custom disk, as [`dump`] does.
pub fn dump_on(vfs: &dyn Vfs, each: impl FnMut(&RecordSummary)) -> Result<Report, Error> {
    let _lock = lock(vfs)?;
    let outcome = report::read(vfs, &mut |_| {})?;
    outcome.lines.values().for_each(each);
    Ok(outcome.report)
}

/// Reports what [`truncate`] would lose. Returns `None` if there is nothing to truncate.
pub fn plan(folder: impl AsRef<Path>, start: TruncateFrom) -> Result<Option<Truncation>, Error> {
    plan_on(&folder::open_read_only(folder.as_ref())?, start)
}

/// Reports what truncating the log on a custom disk would lose, as [`plan`] does.
pub fn plan_on(vfs: &dyn Vfs, start: TruncateFrom) -> Result<Option<Truncation>, Error> {
    let _lock = lock(vfs)?;
    Ok(truncate::plan(vfs, start)?.map(|plan| plan.cut))
}

/// Truncates the log in a folder, and reports what was lost. Returns `None` if there was nothing to
/// truncate. The removed bytes are copied to files whose names begin with `cut-`.
///
/// The remaining records are written to a new checkpoint, which replaces all other files at once.
/// An interrupted truncation has either not happened, and can be repeated, or has happened. Tokens
/// continue to rise, because the clock does not go back.
pub fn truncate(folder: impl AsRef<Path>, start: TruncateFrom) -> Result<Option<Truncation>, Error> {
    truncate_on(&folder::open_existing(folder.as_ref())?, start)
}

/// Truncates the log on a custom disk, as [`truncate`] does.
pub fn truncate_on(vfs: &dyn Vfs, start: TruncateFrom) -> Result<Option<Truncation>, Error> {
    let _lock = lock(vfs)?;
    let Some(plan) = truncate::plan(vfs, start)? else { return Ok(None) };
    Ok(Some(truncate::carry_out(vfs, plan)?))
}

fn lock(vfs: &dyn Vfs) -> Result<Lock, StoreError> {
    if !folder::has_log(vfs)? {
        return Err(folder::no_log(vfs));
    }
    folder::lock(vfs, Settings::default().lock_wait)
}
