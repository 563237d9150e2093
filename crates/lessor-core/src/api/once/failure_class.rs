//! [`FailureClass`], which states what an error of the work means.

use std::borrow::Cow;
use std::time::Duration;

use crate::data::time::Timestamp;
use crate::rules::policies::{Backoff, OnFailed};

/// The meaning of an error that the work returned. See [`Once::classify`](crate::Once::classify).
///
/// | class | the key afterwards | the caller gets | later callers |
/// |---|---|---|---|
/// | [`keep`](Self::keep) | failed | [`OnceError::Work`](crate::OnceError::Work) | get the same error |
/// | [`retry`](Self::retry) | failed, until the backoff has passed | [`OnceError::Work`](crate::OnceError::Work) with `retry_after` | get the same error during the backoff, then run the work again |
/// | [`release`](Self::release) | released | [`OnceError::Released`](crate::OnceError::Released) | run the work again |
/// | [`unsure`](Self::unsure) | in doubt | [`OnceError::InDoubt`](crate::OnceError::InDoubt) | get `InDoubt` until an operator or [`reconcile`](crate::Once::reconcile) decides |
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct FailureClass {
    pub(super) kind: Kind,
    pub(super) code: Option<Cow<'static, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Keep,
    Retry(OnFailed),
    Release,
    Unsure,
}

impl FailureClass {
    /// The failure is final: all later callers get the error.
    pub const fn keep() -> Self {
        Self::of(Kind::Keep)
    }

    /// The failure is temporary: after `backoff`, the next caller runs the work again, until there
    /// have been `max_attempts` grants of the key, including the first. The failure of the last one
    /// is final. A caller that waits with [`retry_until`](crate::Once::retry_until) runs the work
    /// again itself.
    pub const fn retry(max_attempts: u32, backoff: Backoff) -> Self {
        Self::of(Kind::Retry(OnFailed::Retry { max_attempts, backoff }))
    }

    /// Nothing was done: the key is released, and the next caller runs the work. The error is not
    /// stored.
    pub const fn release() -> Self {
        Self::of(Kind::Release)
    }

    /// The work may have been done or not: the key is left in doubt, and no caller runs the work
    /// until an operator [resolves](crate::Engine::resolve) the key, or until a caller with
    /// [`reconcile`](crate::Once::reconcile) has looked. The error is not stored. After
    /// [`Limits::retention`](field@crate::Limits::retention) the record is forgotten, and the work
    /// runs again.
    pub const fn unsure() -> Self {
        Self::of(Kind::Unsure)
    }

    /// Sets the error code that observers see, of 1 to 256 characters without control characters.
    /// Default, and in place of an invalid code: [`ERRORED`](crate::ERRORED).
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, code: None }
    }
}

impl Kind {
    /// Returns the time after which the work may be retried, if it may.
    pub(super) fn retry_after(self, attempt: u32) -> Option<Duration> {
        match self {
            Self::Retry(policy) => retry_after_by(policy, attempt),
            Self::Keep | Self::Release | Self::Unsure => None,
        }
    }
}

/// Returns the time after a failure from which `policy` allows another attempt, if it does.
pub(super) fn retry_after_by(policy: OnFailed, attempt: u32) -> Option<Duration> {
    let epoch = Timestamp::EPOCH;
    policy.retry_at(attempt, epoch).map(|at| at.saturating_since(epoch))
}
