//! `lessor resolve`.

use clap::Args;

use crate::confirm::{Change, Confirm};
use crate::exit::Code;
use crate::place::Global;
use crate::problem::Problem;
use crate::reading;

/// Give a key its outcome, as an operator who knows whether the work was done
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The key
    key: String,
    #[command(flatten)]
    outcome: Outcome,
    /// Details of the failure
    #[arg(long, value_name = "TEXT", requires = "failed")]
    detail: Option<String>,
    /// Also while the lease is live; its holder is superseded
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Outcome {
    /// The work was done, with this result in JSON; null if there is none
    #[arg(long, value_name = "JSON", value_parser = json)]
    completed: Option<serde_json::Value>,
    /// The work failed, with this error code
    #[arg(long, value_name = "CODE")]
    failed: Option<String>,
    /// The work was not done, so the key can be acquired again
    #[arg(long)]
    released: bool,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; write JSON, with quotes around text"))
}

impl Resolve {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let because = reading::state_of(&engine, &self.key, self.force)?;
        let outcome = match &self.outcome {
            Outcome { completed: Some(_), .. } => "completed".to_owned(),
            Outcome { failed: Some(code), .. } => format!("failed with the code {code:?}"),
            Outcome { .. } => "released".to_owned(),
        };
        let change = Change::new(format!("resolve {:?} to {outcome}", self.key), because);
        self.confirm.make(change, &mut global.output(), || {
            let resolve = engine.resolve(&self.key);
            let resolve = if self.force { resolve.forced() } else { resolve };
            let resolved = match (&self.outcome, &self.detail) {
                (Outcome { completed: Some(result), .. }, _) => resolve.completed(result),
                (Outcome { failed: Some(code), .. }, Some(detail)) => resolve.failed_with(code, detail),
                (Outcome { failed: Some(code), .. }, None) => resolve.failed(code),
                (Outcome { .. }, _) => resolve.released(),
            };
            Ok(resolved.wait().map(drop)?)
        })
    }
}
