//! `lessor explain`.

use std::io::{self, Write};

use clap::Args;
use lessor::Explanation;

use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;

/// Explain in sentences why a key is in its state, and why its work ran more than once
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The key
    key: String,
}

impl Explain {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let explanation = global.open()?.explain(&self.key).wait()?;
        global.output().show(&explanation)?;
        Ok(if explanation.state.is_none() { Code::NotFound } else { Code::Done })
    }
}

impl Shown for Explanation {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{self}")
    }
}
