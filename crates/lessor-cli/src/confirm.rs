//! Commands that change something do so only with `--yes`, and otherwise say what they would do.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::exit::Code;
use crate::output::{Output, Shown};
use crate::problem::Problem;

/// The option of commands that change something.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do it; without this, the command only says what it would do
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A change, in a sentence without its subject.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    /// What the change is, such as `forget "nightly"`.
    what: String,
    /// What it was decided on, such as `the key is completed`.
    because: String,
    done: bool,
}

impl Change {
    pub(crate) fn new(what: impl Into<String>, because: impl Into<String>) -> Self {
        Self { what: what.into(), because: because.into(), done: false }
    }
}

impl Confirm {
    /// Makes the change if the caller confirmed it, and prints what was or would be done.
    pub(crate) fn make(
        &self,
        mut change: Change,
        out: &mut Output,
        make: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<Code, Problem> {
        if self.yes {
            make()?;
            change.done = true;
        }
        out.show(&change)?;
        Ok(if self.yes { Code::Done } else { Code::Unconfirmed })
    }
}

impl Shown for Change {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { what, because, done } = self;
        match done {
            true => writeln!(out, "done: {what} ({because})"),
            false => writeln!(out, "would {what} ({because}); nothing was changed, use --yes to do it"),
        }
    }
}
