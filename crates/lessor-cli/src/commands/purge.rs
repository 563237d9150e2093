//! `lessor purge`.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::confirm::{Change, Confirm};
use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;
use crate::progress;

/// Remove the records whose retention has ended
///
/// They count as absent already. Every engine removes them by itself; this command does it now.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// At most this many records
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Serialize)]
struct Purged {
    purged: usize,
}

impl Purge {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open_whole("purge")?;
        let mut out = global.output();
        if !self.confirm.yes {
            let change = Change::new("remove the records whose retention has ended", "they count as absent");
            return self.confirm.make(change, &mut out, || Ok(()));
        }
        let bar = progress::spinner("purging");
        let purged = engine.purge(self.limit).wait();
        bar.finish_and_clear();
        out.show(&Purged { purged: purged? })?;
        Ok(Code::Done)
    }
}

impl Shown for Purged {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "records removed: {}", self.purged)
    }
}
