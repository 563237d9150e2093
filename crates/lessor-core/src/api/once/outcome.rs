//! The outcome of a piece of work, as one caller gets it.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tracing::Span;

use super::codes::{PANICKED, RESULT_REFUSED};
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) replayed: bool,
    pub(super) reconciled: bool,
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
    /// The work returned this error, in this call or in an earlier one.
    #[non_exhaustive]
    Work {
        /// The error.
        error: E,
        /// Whether the work ran in another call. False for the caller whose work failed.
        is_replay: bool,
        /// The time after which a caller with the same policies may run the work again. `None` if
        /// the failure is final.
        retry_after: Option<Duration>,
    },
    /// The work failed in an earlier call without an error of type `E`: it panicked, its outcome
    /// could not be stored, it failed its lease itself, or an operator decided so.
    /// [`View::error_code`] returns the reason. The work did not run in this call, and runs again
    /// only if a caller's policy retries.
    Failed(View),
    /// Another caller is still running the work, and the timeout has passed. The work did not run
    /// in this call.
    InProgress(View),
    /// Nobody knows whether the work was done, and it does not run again until the key is resolved
    /// by an operator or by a caller that [reconciles](crate::Once::reconcile).
    ///
    /// Either the work ran in this call and cannot know, or the last lease lapsed without an
    /// outcome and this caller's policy is [`OnLapsed::InDoubt`](crate::OnLapsed::InDoubt).
    #[non_exhaustive]
    InDoubt {
        /// The error of the work, if it ran in this call. Its class is
        /// [`unsure`](crate::FailureClass::unsure).
        error: Option<E>,
        /// The state of the key, if the work did not run in this call.
        view: Option<View>,
    },
    /// The lease was lost before the work ended. Another caller may be running the work, or may
    /// have finished it. Contains what the work returned, which is discarded, or `None` for work
    /// that did not begin, and for async work that was dropped before its end.
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
    /// The result or the error of the work is too large, or would not read back. The failure
    /// [`RESULT_REFUSED`](crate::RESULT_REFUSED) is stored instead and is replayed. The work runs
    /// again only if a caller's policy retries.
    #[non_exhaustive]
    Refused {
        /// The value or error that the work returned.
        work: Result<T, E>,
        /// The reason for which it was not stored.
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
            Self::Work { error, is_replay: false, .. } => Some(Err(error)),
            Self::InDoubt { error, .. } => error.map(Err),
            Self::Lost(work) => work,
            Self::Released(work)
            | Self::Overruled { work, .. }
            | Self::Unrecorded { work, .. }
            | Self::Refused { work, .. } => Some(work),
            Self::Work { .. } | Self::Failed(_) | Self::InProgress(_) | Self::Engine(_) => None,
        }
    }

    /// Returns the error for a key whose stored state is `view`, which is failed.
    pub(super) fn of_failed(view: View) -> Self
    where
        E: DeserializeOwned,
    {
        // These have text as their detail, which another type could accept.
        if matches!(view.error_code(), Some(PANICKED | RESULT_REFUSED)) {
            return Self::Failed(view);
        }
        match view.failure() {
            Ok(Some(error)) => Self::Work { error, is_replay: true, retry_after: view.retry_in() },
            _ => Self::Failed(view),
        }
    }
}

/// Records the end of a call in its span.
pub(super) fn record_outcome<T, E>(span: &Span, ended: &Result<Outcome<T>, OnceError<T, E>>) {
    if span.is_disabled() {
        return;
    }
    match ended {
        Ok(outcome) => {
            let details = outcome.details;
            let how = match details {
                Details { replayed: true, .. } => "replayed",
                Details { reconciled: true, .. } => "reconciled",
                Details { late: true, .. } => "completed_late",
                _ => "completed",
            };
            span.record("outcome", how);
        }
        Err(error) => {
            span.record("outcome", "error");
            span.record("error.type", error.name());
        }
    }
}

impl<T, E> OnceError<T, E> {
    /// Returns the name of the variant in lower case.
    fn name(&self) -> &'static str {
        match self {
            Self::Work { .. } => "work",
            Self::Failed(_) => "failed",
            Self::InProgress(_) => "in_progress",
            Self::InDoubt { .. } => "in_doubt",
            Self::Lost(_) => "lost",
            Self::Released(_) => "released",
            Self::Overruled { .. } => "overruled",
            Self::Refused { .. } => "refused",
            Self::Unrecorded { .. } => "unrecorded",
            Self::Engine(_) => "engine",
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
            Self::Work { error, is_replay: false, .. } => write!(f, "the work failed: {error}"),
            Self::Work { error, .. } => write!(f, "the work failed before: {error}"),
            Self::Failed(view) => {
                let code = view.error_code().unwrap_or_default();
                write!(
                    f,
                    "the work failed before, with code {code:?}; read the details from the view, or forget the \
                     key to run the work again"
                )
            }
            Self::InProgress(_) => f.write_str("the work is still in progress elsewhere; ask again later"),
            Self::InDoubt { error: None, .. } => f.write_str(
                "the last lease ended without an outcome; check the effects of the work, then resolve the key",
            ),
            Self::InDoubt { error: Some(error), .. } => write!(
                f,
                "the work failed and may have been done: {error}; check its effects, then resolve the key"
            ),
            Self::Lost(_) => {
                f.write_str("the lease was lost before the work ended, so its outcome is discarded")
            }
            Self::Released(Ok(_)) => {
                f.write_str("the work released its lease before it returned, so its value is not stored")
            }
            Self::Released(Err(error)) => write!(f, "the work released its lease and failed: {error}"),
            Self::Overruled { state, .. } => {
                write!(f, "the work was {state} with another outcome before it returned, and that one is final")
            }
            Self::Refused { work: Ok(_), .. } => {
                f.write_str("the work was done, but its result cannot be stored; this failure is stored instead")
            }
            Self::Refused { work: Err(error), .. } => {
                write!(f, "the work failed, but its error cannot be stored; this failure is stored instead: {error}")
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
            Self::Work { error, is_replay, retry_after } => f
                .debug_struct("Work")
                .field("error", error)
                .field("is_replay", is_replay)
                .field("retry_after", retry_after)
                .finish(),
            Self::Failed(view) => f.debug_tuple("Failed").field(view).finish(),
            Self::InProgress(view) => f.debug_tuple("InProgress").field(view).finish(),
            Self::InDoubt { error, view } => {
                f.debug_struct("InDoubt").field("error", error).field("view", view).finish()
            }
            Self::Lost(None) => f.write_str("Lost(None)"),
            Self::Lost(Some(work)) => write!(f, "Lost(Some({}))", shown(work)),
            Self::Released(work) => write!(f, "Released({})", shown(work)),
            Self::Overruled { state, work } => {
                write!(f, "Overruled {{ state: {state:?}, work: {} }}", shown(work))
            }
            Self::Refused { work, error } => {
                write!(f, "Refused {{ work: {}, error: {error:?} }}", shown(work))
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

    /// Returns whether the value was found by the caller's [`reconcile`](crate::Once::reconcile)
    /// function, so that the work did not run in this call.
    pub fn is_reconciled(&self) -> bool {
        self.details.reconciled
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
