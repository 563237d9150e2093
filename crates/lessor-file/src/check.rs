//! Looking at a log from outside, and saving what can be saved of a damaged one. The program `lessor-file` is a thin shell
//! around this.
//!
//! - [`verify`] reads everything and changes nothing.
//! - [`dump`] shows one line per record: never a lease id, a result, a checkpoint or metadata.
//! - [`plan`] says what a cut would lose, and [`truncate`] cuts.
//!
//! All of them hold the folder's lock meanwhile, so the log must not be open. Those that change nothing really do not: they make and
//! write no file, not even the one that is locked, and a log that can only be read is enough for them.

mod report;
mod summary;
mod truncate;
mod walk;

use std::path::Path;

use lessor_core::{Error, StoreError};

use crate::folder;
use crate::settings::Settings;
use lessor_vfs::{Lock, Vfs};

pub use report::{Damage, FileReport, Report, Spot, Verdict};
pub use summary::Line;
pub use truncate::{BackTo, Cut, LostFrame, LostKey, Start};

/// Reads the log in a folder as an opening does, decodes every record, and changes nothing.
pub fn verify(folder: impl AsRef<Path>) -> Result<Report, Error> {
    verify_on(&folder::open_to_read(folder.as_ref())?)
}

/// The same on a disk of the caller's.
pub fn verify_on(vfs: &dyn Vfs) -> Result<Report, Error> {
    let _lock = lock(vfs)?;
    Ok(report::read(vfs, &mut |_| {})?.report)
}

/// Hands on a line for each record that the log in a folder holds, in the order of the keys. If the log is damaged, the lines
/// are of what comes before the damage.
pub fn dump(folder: impl AsRef<Path>, each: impl FnMut(&Line)) -> Result<Report, Error> {
    dump_on(&folder::open_to_read(folder.as_ref())?, each)
}

/// The same on a disk of the caller's.
pub fn dump_on(vfs: &dyn Vfs, each: impl FnMut(&Line)) -> Result<Report, Error> {
    let _lock = lock(vfs)?;
    let outcome = report::read(vfs, &mut |_| {})?;
    outcome.lines.values().for_each(each);
    Ok(outcome.report)
}

/// What [`truncate`] would lose. `None` if there is nothing to cut.
pub fn plan(folder: impl AsRef<Path>, start: Start) -> Result<Option<Cut>, Error> {
    plan_on(&folder::open_to_read(folder.as_ref())?, start)
}

/// The same on a disk of the caller's.
pub fn plan_on(vfs: &dyn Vfs, start: Start) -> Result<Option<Cut>, Error> {
    let _lock = lock(vfs)?;
    Ok(truncate::plan(vfs, start)?.map(|plan| plan.cut))
}

/// Cuts the log in a folder and says what was lost; `None` if there was nothing to cut. The bytes that are cut are kept in
/// files beside the log, whose names begin with `cut-`.
///
/// What is left is written as a new checkpoint, which takes the place of all other files at once: a cut that is interrupted
/// has either not happened, and can be made again, or has happened. Tokens go on rising, since no time is forgotten.
pub fn truncate(folder: impl AsRef<Path>, start: Start) -> Result<Option<Cut>, Error> {
    truncate_on(&folder::open_existing(folder.as_ref())?, start)
}

/// The same on a disk of the caller's.
pub fn truncate_on(vfs: &dyn Vfs, start: Start) -> Result<Option<Cut>, Error> {
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
