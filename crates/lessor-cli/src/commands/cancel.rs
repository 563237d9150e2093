//! `lessor cancel`.

use clap::Args;

use crate::confirm::{Change, Confirm};
use crate::exit::Code;
use crate::place::Global;
use crate::problem::Problem;
use crate::reading;

/// Cancel the work of a key, even if its lease is live: its holder is superseded
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The key
    key: String,
    /// The reason, which becomes a part of the error code
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
}

impl Cancel {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let change =
            Change::new(format!("cancel {:?}", self.key), reading::state_of(&engine, &self.key, true)?);
        self.confirm.make(change, &mut global.output(), || {
            Ok(engine.cancel(&self.key, self.reason.as_deref()).wait().map(drop)?)
        })
    }
}
