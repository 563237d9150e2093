//! `lessor dump`.

use clap::Args;
use lessor::file::check;

use crate::exit::Code;
use crate::place::Global;
use crate::problem::Problem;

use super::verify::verdict;

/// Print one line of JSON for each record of a file store, with its place in the files
///
/// The lines have the key, stage, token, version, times and sizes, and never a lease id, a result, a
/// checkpoint or metadata. The store must not be open in another process. Of a damaged store, the
/// records before the damage are printed, and the exit code is 9.
#[derive(Debug, Args)]
pub(crate) struct Dump {}

impl Dump {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let folder = global.place()?.whole("dump")?.existing_folder("dump")?;
        let mut out = global.output();
        let mut written = Ok(());
        let report = check::dump(folder, |record| {
            if written.is_ok() {
                written = out.line(record);
            }
        })?;
        written?;
        if !report.is_sound() {
            eprintln!("{report}\nonly records before the damage are listed");
        }
        Ok(verdict(&report))
    }
}
