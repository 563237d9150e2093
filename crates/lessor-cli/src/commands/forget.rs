//! `lessor forget`.

use clap::Args;

use crate::confirm::{Change, Confirm};
use crate::exit::Code;
use crate::place::Global;
use crate::problem::Problem;
use crate::reading;

/// Remove the record of a key, so that its work runs again
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The key
    key: String,
    /// Also while the lease is live; its holder is superseded
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Forget {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let because = reading::state_of(&engine, &self.key, self.force)?;
        self.confirm.make(
            Change::new(format!("forget {:?}", self.key), because),
            &mut global.output(),
            || {
                let forgotten =
                    if self.force { engine.forget_forced(&self.key) } else { engine.forget(&self.key) };
                Ok(forgotten.wait().map(drop)?)
            },
        )
    }
}
