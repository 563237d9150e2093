//! The outcome of a piece of work, as one caller gets it.

use std::fmt;

use crate::data::error::Error;
use crate::data::record::GrantEnd;
use crate::data::state::State;
use crate::data::view::View;

/// The outcome of successful work, as one caller of [`Once::run`](crate::Once::run) gets it.
///
/// `Debug` does not show the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome<T> {
    pub(super) value: T,
    pub(super) details: Details,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) replayed: bool,
    pub(super) waited: bool,
    pub(super) late: bool,
    pub(super) attempt: u32,
    pub(super) after: Option<GrantEnd>,
}

/// The reason for which [`Once::run`](crate::Once::run) returns no outcome.
///
/// The error contains what the work returned, if it ran to its end in this call.
/// [`into_work`](Self::into_work) returns it.
///
/// `Debug` does not show the value.
#[non_exhaustive]
pub enum OnceError<T, E> {
    /// The work ran in this call and returned this error. The failure is stored with the code
    /// [`ERRORED`](crate::ERRORED), or the code that the work set itself, and is replayed to later
    /// callers. The work runs again only if a caller's policy retries.
    Work(E),
    /// The work failed in an earlier call. It did not run in this call, and runs again only if a
    /// caller's policy retries.
    Failed(View),
    /// Another caller is still running the work, and the timeout has passed. The work did not run
    /// in this call.
    InProgress(View),
    /// The last lease lapsed without an outcome, and the policy leaves the decision to an operator.
    /// The work did not run in this call, and does not run again until the key is resolved.
    InDoubt(View),
    /// The lease was lost while the work ran. Another caller may be running the work, or may have
    /// finished it. Contains what the work returned, which is discarded, or `None` for async work
    /// that was dropped before its end.
    Lost(Option<Result<T, E>>),
    /// The work released its lease before it returned this. Nothing is stored, and the next caller
    /// runs the work again.
    Released(Result<T, E>),
    /// The work itself or an operator gave the record another outcome while the work ran. That
    /// outcome is final and is replayed.
    #[non_exhaustive]
    Overruled {
        /// The state of the record.
        state: State,
        /// The value that the work returned, which is discarded.
        work: Result<T, E>,
    },
    /// The result of the work is too large, or its JSON would not read back. The failure
    /// [`RESULT_REFUSED`](crate::RESULT_REFUSED) is stored instead and is replayed. The work runs
    /// again only if a caller's policy retries.
    #[non_exhaustive]
    Refused {
        /// The value that the work returned.
        value: T,
        /// The reason for which the value was not stored.
        error: Error,
    },
    /// The work was done, but its outcome could not be stored, or the store's reply was lost. The
    /// work may run again.
    #[non_exhaustive]
    Unrecorded {
        /// The value that the work returned.
        work: Result<T, E>,
        /// The last error.
        error: Error,
    },
    /// The key could not be acquired, or its result could not be read. The work did not run in this
    /// call.
    Engine(Error),
}

impl<T, E> OnceError<T, E> {
    /// Returns what the work returned, if it ran to its end in this call.
    pub fn into_work(self) -> Option<Result<T, E>> {
        match self {
            Self::Work(error) => Some(Err(error)),
            Self::Lost(work) => work,
            Self::Released(work) | Self::Overruled { work, .. } | Self::Unrecorded { work, .. } => Some(work),
            Self::Refused { value, .. } => Some(Ok(value)),
            Self::Failed(_) | Self::InProgress(_) | Self::InDoubt(_) | Self::Engine(_) => None,
        }
    }
}

impl<T, E> From<Error> for OnceError<T, E> {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl<T, E: fmt::Display> fmt::Display for OnceError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(error) => write!(f, "the work failed: {error}"),
            Self::Failed(view) => {
                write!(f, "the work failed before, with code {:?}", view.error_code().unwrap_or_default())
            }
            Self::InProgress(_) => f.write_str("the work is still in progress elsewhere"),
            Self::InDoubt(_) => f.write_str(
                "the last lease lapsed without an outcome; check the effects of the work, then resolve the key",
            ),
            Self::Lost(_) => {
                f.write_str("the lease was lost while the work ran, so its outcome is discarded")
            }
            Self::Released(Ok(_)) => {
                f.write_str("the work released its lease before it returned, so its value is not stored")
            }
            Self::Released(Err(error)) => write!(f, "the work released its lease and failed: {error}"),
            Self::Overruled { state, .. } => {
                write!(f, "the work was {state} with another outcome before it returned, and that one is final")
            }
            Self::Refused { .. } => {
                f.write_str("the work was done, but its result cannot be stored; this failure is stored instead")
            }
            Self::Unrecorded { work: Ok(_), .. } => {
                f.write_str("the work was done, but its outcome could not be stored")
            }
            Self::Unrecorded { work: Err(error), .. } => {
                write!(f, "the work failed, and the failure could not be stored: {error}")
            }
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl<T, E: fmt::Debug + fmt::Display> std::error::Error for OnceError<T, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused { error, .. } | Self::Unrecorded { error, .. } => Some(error),
            Self::Engine(error) => error.source(),
            _ => None,
        }
    }
}

/// Values are omitted, because results must not appear in logs.
impl<T, E: fmt::Debug> fmt::Debug for OnceError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |work: &Result<T, E>| match work {
            Ok(_) => "Ok(..)".to_owned(),
            Err(error) => format!("Err({error:?})"),
        };
        match self {
            Self::Work(error) => f.debug_tuple("Work").field(error).finish(),
            Self::Failed(view) => f.debug_tuple("Failed").field(view).finish(),
            Self::InProgress(view) => f.debug_tuple("InProgress").field(view).finish(),
            Self::InDoubt(view) => f.debug_tuple("InDoubt").field(view).finish(),
            Self::Lost(None) => f.write_str("Lost(None)"),
            Self::Lost(Some(work)) => write!(f, "Lost(Some({}))", shown(work)),
            Self::Released(work) => write!(f, "Released({})", shown(work)),
            Self::Overruled { state, work } => {
                write!(f, "Overruled {{ state: {state:?}, work: {} }}", shown(work))
            }
            Self::Refused { error, .. } => {
                f.debug_struct("Refused").field("error", error).finish_non_exhaustive()
            }
            Self::Unrecorded { work, error } => {
                write!(f, "Unrecorded {{ work: {}, error: {error:?} }}", shown(work))
            }
            Self::Engine(error) => f.debug_tuple("Engine").field(error).finish(),
        }
    }
}

impl<T> Outcome<T> {
    /// Returns a reference to the value that the work returned.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns the value that the work returned.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Returns whether the work ran in another call, whose result this is.
    pub fn is_replay(&self) -> bool {
        self.details.replayed
    }

    /// Returns whether this caller waited for a concurrent caller that ran the same work.
    pub fn has_waited(&self) -> bool {
        self.details.waited
    }

    /// Returns whether the work ended after its lease had lapsed. The outcome counts, because no
    /// other caller had acquired the key.
    pub fn is_late(&self) -> bool {
        self.details.late
    }

    /// Returns the number of grants of the key, up to the successful one.
    pub fn attempt(&self) -> u32 {
        self.details.attempt
    }

    /// Returns how the previous grant ended, if there was one and the work ran in this call.
    pub fn took_over_after(&self) -> Option<GrantEnd> {
        self.details.after
    }
}

/// The value is omitted, because results must not appear in logs.
impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("details", &self.details).finish_non_exhaustive()
    }
}
