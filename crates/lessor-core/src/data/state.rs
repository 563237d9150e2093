//! The state of a record as observers see it.

use std::fmt;

use serde::Serialize;

/// The state of a key's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody holds a live lease.
    InProgress,
    /// The last holder's lease ran out, or was dropped, before the work was finished.
    Lapsed,
    /// The work is done and its result is here.
    Completed,
    /// The work failed, or was cancelled.
    Failed,
    /// The last holder handed the lease back with nothing done.
    Released,
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
