//! `lessor verify`.

use std::io::{self, Write};

use clap::Args;
use lessor::file::check::{self, Report};

use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;
use crate::progress;

/// Read everything of a file store, change nothing, and report its content or its damage
///
/// The store must not be open in another process. Read access is sufficient. The exit code is 9 if
/// the store is damaged.
#[derive(Debug, Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let folder = global.place()?.whole("verify")?.existing_folder("verify")?;
        let bar = progress::spinner("reading the log");
        let report = check::verify(folder);
        bar.finish_and_clear();
        let report = report?;
        global.output().show(&report)?;
        Ok(verdict(&report))
    }
}

/// Returns the exit code for the state of a log.
pub(super) fn verdict(report: &Report) -> Code {
    if report.is_sound() { Code::Done } else { Code::Broken }
}

impl Shown for Report {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{self}")
    }
}
