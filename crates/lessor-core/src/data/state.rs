//! The state of a record as observers see it.

use std::fmt;

use serde::Serialize;

/// The state of a key's record, as [`View::state`](crate::View::state) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The key has a live lease.
    InProgress,
    /// The last lease has lapsed, or its holder dropped it, before there was an outcome.
    Lapsed,
    /// The work is done, and the record has its result.
    Completed,
    /// The work has failed.
    Failed,
    /// The last holder has released the lease without doing the work.
    Released,
}

impl State {
    /// Returns the name of the state in lower case, with underscores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Lapsed => "lapsed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "in progress",
            Self::Lapsed => "lapsed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Released => "released",
        })
    }
}
