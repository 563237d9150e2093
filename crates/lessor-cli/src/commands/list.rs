//! `lessor list`.

use clap::{Args, ValueEnum};
use lessor::State;

use crate::exit::Code;
use crate::place::Global;
use crate::problem::Problem;
use crate::reading;
use crate::record::RecordRow;

/// List the keys and their states, in key order
///
/// Records whose retention has ended are not listed. The states are those of the moment at which
/// each page is read.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only keys that begin with this text
    prefix: Option<String>,
    /// Only keys in this state; may be given several times
    #[arg(long = "state", value_enum)]
    states: Vec<StateArg>,
    /// At most this many keys
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// A state, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateArg {
    InProgress,
    Lapsed,
    Completed,
    Failed,
    Released,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::InProgress => Self::InProgress,
            StateArg::Lapsed => Self::Lapsed,
            StateArg::Completed => Self::Completed,
            StateArg::Failed => Self::Failed,
            StateArg::Released => Self::Released,
        }
    }
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let mut out = global.output();
        let states: Vec<State> = self.states.iter().copied().map(State::from).collect();
        let (mut rows, mut left) = (Vec::new(), self.limit.unwrap_or(usize::MAX));
        reading::pages(&engine, self.prefix.as_deref().unwrap_or(""), &states, |page| {
            let page: Vec<_> =
                page.into_iter().take(left).map(|(key, view)| RecordRow::new(key, &view)).collect();
            left -= page.len();
            // Lines of JSON have no width, so they need not wait for the last page.
            if global.json {
                out.rows(&page)?;
            } else {
                rows.extend(page);
            }
            Ok(left > 0)
        })?;
        if !global.json {
            out.rows(&rows)?;
        }
        Ok(Code::Done)
    }
}
