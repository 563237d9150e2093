//! The errors of an engine.

use std::time::Duration;

use crate::data::key::KeyError;
use crate::data::lease_id::LeaseIdError;
use crate::data::record::Token;
use crate::data::state::State;
use crate::data::store_error::StoreError;

/// The reason for which an operation was refused or failed.
///
/// A refusal does not change the record. [`kind`](Self::kind) groups the errors by the reaction
/// that they call for. No message contains a lease id, a result or metadata.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a valid key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text is not a valid lease id.
    #[error(transparent)]
    LeaseId(#[from] LeaseIdError),
    /// An argument or a setting is out of its range.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The name of the argument or setting.
        what: &'static str,
        /// The problem and its solution.
        reason: String,
    },
    /// A value is larger than the settings allow. Nothing was written.
    #[error(
        "{what} has {size} bytes, but the limit is {limit}; store it elsewhere and keep a reference, or raise the limit"
    )]
    TooLarge {
        /// The name of the value.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value could not be converted to JSON or from JSON. The message contains neither.
    #[error("{what} could not be converted: {reason}")]
    Json {
        /// The name of the value.
        what: &'static str,
        /// The problem and its position.
        reason: String,
    },
    /// There is no record under the key, or its retention has ended.
    #[error("the key has no record; it was never acquired, was forgotten, or its retention has ended")]
    NotFound,
    /// Another grant has superseded this one.
    #[error("the lease was granted to another holder (token {token}); stop the work and discard its outcome")]
    NotHolder {
        /// The token of the current grant.
        token: Token,
    },
    /// The lease has lapsed. Its outcome can still be delivered until another caller acquires the
    /// key.
    #[error("the lease has lapsed and cannot be extended; complete or fail it, or acquire the key again")]
    Lapsed,
    /// The work is finished already, with another outcome.
    #[error("the work is already {state} with another outcome, which is final")]
    Finished {
        /// The state of the record: completed or failed.
        state: State,
    },
    /// The lease was released.
    #[error("the lease was released; acquire the key again")]
    Released,
    /// The operation is not allowed while the key is leased.
    #[error(
        "the key is leased for another {ttl_left:?}; wait for the end of the lease, or force the operation"
    )]
    Busy {
        /// The time until the lease lapses, unless it is extended.
        ttl_left: Duration,
    },
    /// The key's record was created for another request.
    #[error("the key was used for a different request; use one key per request")]
    FingerprintMismatch,
    /// The grant under this lease id has ended, and an id is never granted twice.
    #[error("the grant under this lease id has ended; acquire with a new lease id")]
    LeaseIdReused,
    /// The store's clock or a token has reached 2^53 microseconds since 1970.
    #[error("the store's clock is past the year 2255; correct it")]
    ClockOutOfRange,
    /// The operating system returned no random bits.
    #[error("the operating system returned no random bits: {reason}")]
    Randomness {
        /// The error of the operating system.
        reason: String,
    },
    /// A background thread of the engine could not be started.
    #[error("a background thread could not be started: {reason}")]
    Thread {
        /// The error of the operating system.
        reason: String,
    },
    /// The engine has been closed.
    #[error("the engine has been closed and grants no more leases")]
    ShutDown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A coarse classification of errors, for code that decides how to react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong. Change the call.
    Invalid,
    /// The key has no record.
    NotFound,
    /// The caller no longer holds the lease. Stop the work.
    Lost,
    /// The work has another, final outcome. Read it.
    Finished,
    /// Another holder has a live lease. Wait.
    Busy,
    /// The key was used for a different request.
    Mismatch,
    /// Nothing was changed. Try again later.
    Unavailable,
    /// Nothing was changed, and the call fails until the configuration is corrected. Do not retry.
    Misconfigured,
    /// The operation may have happened. Send the same operation again.
    Indeterminate,
    /// The store is damaged, full or incompatible, or its clock is wrong. An operator has to act.
    Broken,
    /// The engine has been closed.
    ShutDown,
}

impl Error {
    /// Returns the error for an answer that does not belong to the command. Only a store that
    /// breaks its contract causes it.
    #[cold]
    pub(crate) fn unexpected() -> Self {
        StoreError::Incompatible { reason: "the store returned the answer to another operation".to_owned() }
            .into()
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_)
            | Self::LeaseId(_)
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Json { .. }
            | Self::LeaseIdReused => ErrorKind::Invalid,
            Self::NotFound => ErrorKind::NotFound,
            Self::NotHolder { .. } | Self::Lapsed | Self::Released => ErrorKind::Lost,
            Self::Finished { .. } => ErrorKind::Finished,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::FingerprintMismatch => ErrorKind::Mismatch,
            Self::Randomness { .. } | Self::Thread { .. } => ErrorKind::Unavailable,
            Self::ShutDown => ErrorKind::ShutDown,
            Self::Store(StoreError::TooLarge { .. }) => ErrorKind::Invalid,
            Self::Store(StoreError::Unavailable { .. }) => ErrorKind::Unavailable,
            Self::Store(StoreError::Indeterminate { .. }) => ErrorKind::Indeterminate,
            Self::Store(StoreError::Misconfigured { .. }) => ErrorKind::Misconfigured,
            Self::Store(
                StoreError::Corrupt { .. } | StoreError::Full { .. } | StoreError::Incompatible { .. },
            )
            | Self::ClockOutOfRange => ErrorKind::Broken,
        }
    }

    pub(crate) fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }

    /// Returns the error for stored JSON that could not be read. The message of `serde_json` can
    /// quote the data, which may be secret, so only the kind of the problem and its position are
    /// kept.
    pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        let problem = match error.is_data() {
            true => "the stored value has another type; read it as the type that was written",
            false => "the stored value is not JSON; read its bytes",
        };
        let reason = format!("{problem} (line {}, column {})", error.line(), error.column());
        Self::Json { what, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_errors_have_the_kind_that_tells_whether_to_retry() {
        let reason = String::new;
        let cases = [
            (StoreError::Unavailable { reason: reason() }, ErrorKind::Unavailable),
            (StoreError::Misconfigured { reason: reason() }, ErrorKind::Misconfigured),
            (StoreError::Indeterminate { reason: reason() }, ErrorKind::Indeterminate),
            (StoreError::Corrupt { place: String::new(), reason: reason() }, ErrorKind::Broken),
            (StoreError::Full { reason: reason() }, ErrorKind::Broken),
            (StoreError::Incompatible { reason: reason() }, ErrorKind::Broken),
        ];
        for (error, kind) in cases {
            assert_eq!(Error::Store(error.clone()).kind(), kind, "{error}");
        }
    }
}
