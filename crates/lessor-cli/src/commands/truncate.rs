//! `lessor truncate`.

use std::io::{self, Write};

use clap::Args;
use lessor::file::check::{self, TruncateFrom, Truncation};
use serde::Serialize;

use crate::confirm::Confirm;
use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;

/// Cut a damaged file store off at its damage; without --yes, only report what would be lost
///
/// The removed bytes are kept in files named cut-... The store must not be open in another process.
#[derive(Debug, Args)]
pub(crate) struct Truncate {
    /// Cut at the frame with this number instead of the damage
    #[arg(long, value_name = "LSN")]
    from_lsn: Option<u64>,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Serialize)]
struct Cut {
    lost: Option<Truncation>,
    done: bool,
}

impl Truncate {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let folder = global.place()?.whole("truncate")?.existing_folder("truncate")?;
        let from = self.from_lsn.map_or(TruncateFrom::Damage, TruncateFrom::Lsn);
        let done = self.confirm.yes;
        let lost = if done { check::truncate(folder, from)? } else { check::plan(folder, from)? };
        let code = if done || lost.is_none() { Code::Done } else { Code::Unconfirmed };
        global.output().show(&Cut { lost, done })?;
        Ok(code)
    }
}

impl Shown for Cut {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.lost {
            None => writeln!(out, "nothing to truncate"),
            Some(lost) if self.done => writeln!(out, "{lost}\nthe log was truncated"),
            Some(lost) => writeln!(out, "{lost}\nnothing was changed; use --yes to truncate the log"),
        }
    }
}
