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

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct States(u8);

impl States {
    pub(crate) fn with(self, state: State) -> Self {
        Self(self.0 | bit(state))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, state: State) -> bool {
        self.0 & bit(state) != 0
    }
}

const fn bit(state: State) -> u8 {
    match state {
        State::InProgress => 1,
        State::Lapsed => 1 << 1,
        State::Completed => 1 << 2,
        State::Failed => 1 << 3,
        State::Released => 1 << 4,
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
