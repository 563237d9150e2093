//! What a piece of work came to, for one caller of it.

use std::fmt;

use crate::data::error::Error;
use crate::data::record::GrantEnd;
use crate::data::state::State;
use crate::data::view::View;

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
    pub(super) after: Option<GrantEnd>,
}

/// Why there is no value, or why the value does not count.
///
/// Work that was done is never lost: where its outcome does not count or could not be stored, the error carries what the work
/// returned. [`into_work`](Self::into_work) takes it out.
///
/// `Debug` shows no value.
#[non_exhaustive]
pub enum OnceError<T, E> {
    /// The work ran now and returned this error. The failure is kept under the code `error`, or under the code that the work gave
    /// itself, and replayed to every later caller: the work runs again only if a policy retries.
    Work(E),
    /// The work failed before. It did not run now, and runs again only if a policy retries.
    Failed(View),
    /// Somebody else is still at it, and the caller did not want to wait longer. The work did not run now.
    InProgress(View),
    /// A holder vanished in the middle; an operator has to resolve it. The work did not run now, and does not run again before
    /// that.
    InDoubt(View),
    /// The lease was lost while the work ran: somebody else may be doing the work again, or has done it. This is what the work
    /// returned, which does not count; `None` for async work that was dropped in the middle.
    Lost(Option<Result<T, E>>),
    /// The work handed its lease back, and then returned this. Nothing is kept: the next caller runs the work again.
    Released(Result<T, E>),
    /// The lease was settled with another outcome while the work ran, by the work itself or by an operator. That outcome stands
    /// and is replayed; the work does not run again.
    Overruled {
        /// How the lease was settled.
        state: State,
        /// What the work returned, which does not count.
        work: Result<T, E>,
    },
    /// The work returned a value that cannot be kept: it is too large, or its JSON would not read back. The failure
    /// `result_refused` is kept and replayed in its place: the work runs again only if a policy retries.
    Refused {
        /// What the work returned.
        value: T,
        /// Why it cannot be kept.
        error: Error,
    },
    /// The work was done, but the store did not keep its outcome, or did not say so: the work may run again.
    Unrecorded {
        /// What the work returned.
        work: Result<T, E>,
        /// What the store said last.
        error: Error,
    },
    /// The key could not be acquired, or its result not be read. The work did not run now.
    Engine(Error),
}

impl<T, E> OnceError<T, E> {
    /// What the work returned, if it ran to its end in this call.
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
                "a former holder vanished in the middle of the work; look at its effects, then resolve the key",
            ),
            Self::Lost(_) => f.write_str("the lease was lost while the work ran, so its outcome does not count"),
            Self::Released(Ok(_)) => {
                f.write_str("the work released its lease before it returned, so its value is not kept")
            }
            Self::Released(Err(error)) => write!(f, "the work released its lease and failed: {error}"),
            Self::Overruled { state, .. } => {
                write!(f, "the work was {state} with another outcome before it returned, and that one stands")
            }
            Self::Refused { .. } => {
                f.write_str("the work was done, but its result cannot be kept; this failure is kept in its place")
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

/// Values are left out: results do not belong into logs.
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

    /// A concurrent caller did the same work, and this caller waited for it.
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
    pub fn took_over_after(&self) -> Option<GrantEnd> {
        self.how.after
    }
}

/// The value is left out: results do not belong into logs.
impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("how", &self.how).finish_non_exhaustive()
    }
}
