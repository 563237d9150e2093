//! What a piece of work came to, for one caller of it.

use std::fmt;

use crate::error::Error;
use crate::record::Ended;
use crate::view::View;

/// What became of the work, for one caller of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome<T> {
    pub(super) value: T,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    pub(super) replayed: bool,
    pub(super) waited: bool,
    pub(super) late: bool,
    pub(super) attempt: u32,
    pub(super) after: Option<Ended>,
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError<E> {
    /// The work ran now and returned this error, which is kept and replayed under the code `error`.
    #[error("the work failed: {0}")]
    Work(E),
    /// The work failed before.
    #[error("the work failed before, with code {:?}", .0.error_code().unwrap_or_default())]
    Failed(View),
    /// Somebody else is still at it, and the caller did not want to wait longer.
    #[error("the work is still in progress elsewhere")]
    InProgress(View),
    /// A holder vanished in the middle; an operator has to resolve it.
    #[error("a former holder vanished in the middle of the work; look at its effects, then resolve the key")]
    InDoubt(View),
    /// The lease was lost while the work ran: somebody else may be doing it again, and this outcome does not count.
    #[error("the lease was lost while the work ran, so its outcome does not count")]
    Lost,
    /// The work was done, but its outcome could not be stored: it may be done again.
    #[error("the work was done, but its outcome could not be stored: {0}")]
    Unrecorded(#[source] Error),
    /// The key could not be acquired, or its result not be read.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl<T> Outcome<T> {
    /// The value that the work returned.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value that the work returned.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The work was run by somebody else, or earlier; this is its result.
    pub fn is_replay(&self) -> bool {
        self.how.replayed
    }

    /// A twin was at the same work, and this caller waited for it.
    pub fn has_waited(&self) -> bool {
        self.how.waited
    }

    /// The work ended after its lease had lapsed, but before anybody else began: it counts.
    pub fn is_late(&self) -> bool {
        self.how.late
    }

    /// How many grants it took.
    pub fn attempt(&self) -> u32 {
        self.how.attempt
    }

    /// If this caller ran the work and there was a grant before: how that one ended.
    pub fn took_over_after(&self) -> Option<Ended> {
        self.how.after
    }
}

/// The value is left out: results do not belong into logs.
impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("how", &self.how).finish_non_exhaustive()
    }
}
