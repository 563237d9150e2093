//! What can go wrong, in the words of the contract.

use std::time::Duration;

use crate::data::key::KeyError;
use crate::data::lease_id::LeaseIdError;
use crate::data::record::Token;
use crate::data::state::State;
use crate::data::store_error::StoreError;

/// Why an operation was refused or could not be carried out. A refusal leaves the record as it was, byte for byte.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key cannot be one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The lease id cannot be one.
    #[error(transparent)]
    LeaseId(#[from] LeaseIdError),
    /// An argument or a setting is out of its range.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// Which argument.
        what: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Something is larger than the settings allow. Nothing was written.
    #[error(
        "{what} has {size} bytes, at most {limit} are allowed; store it elsewhere and keep a reference, or raise the limit"
    )]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value could not be turned into JSON, or JSON not into the value. The text of neither is repeated.
    #[error("{what} could not be converted: {reason}")]
    Json {
        /// What was to be converted.
        what: &'static str,
        /// The kind of problem, with its place.
        reason: String,
    },
    /// There is no record under the key, or its retention has ended.
    #[error(
        "nothing is known under this key; it was never acquired, was forgotten, or its retention has ended"
    )]
    NotFound,
    /// Another grant has superseded this one.
    #[error("the lease was granted to somebody else (token {token}); stop working and discard the outcome")]
    NotHolder {
        /// The token of the current grant.
        token: Token,
    },
    /// The lease has lapsed. Its outcome may still be delivered while nobody else has acquired the key.
    #[error("the lease has lapsed and cannot be extended; complete or fail it, or acquire the key anew")]
    Lapsed,
    /// The work is finished already, with another outcome.
    #[error("the work is already {state} with another outcome, which stands")]
    Finished {
        /// How it was finished.
        state: State,
    },
    /// The lease was handed back.
    #[error("the lease was released; acquire the key anew")]
    Released,
    /// A live lease is in the way.
    #[error("a live lease is in the way for another {ttl_left:?}; wait for it, or force the operation")]
    Busy {
        /// How long it lives if nobody extends it.
        ttl_left: Duration,
    },
    /// The key's record was made for another request.
    #[error("the key was used for a different request; use one key per request")]
    FingerprintMismatch,
    /// The grant made under this lease id has ended, and an id is never granted twice.
    #[error("this lease id's grant has ended; acquire with a new lease id")]
    LeaseIdReused,
    /// The clock or the tokens are past 2^53 microseconds.
    #[error("the store's clock is past the year 2255; set it right")]
    ClockOutOfRange,
    /// The operating system gave no random bits.
    #[error("the operating system gave no random bits: {reason}")]
    Randomness {
        /// What it said.
        reason: String,
    },
    /// The engine's background thread could not be started.
    #[error("the background thread could not be started: {reason}")]
    Thread {
        /// What the operating system said.
        reason: String,
    },
    /// The engine was shut down.
    #[error("the engine was shut down and grants no more leases")]
    ShutDown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What kind of thing went wrong, for code that decides what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's mistake: change the call.
    Invalid,
    /// There is no such record.
    NotFound,
    /// The caller no longer holds the lease: stop.
    Lost,
    /// The outcome is final: read it.
    Finished,
    /// Somebody else is at it: wait.
    Busy,
    /// The same key for different requests.
    Mismatch,
    /// Nothing happened: try again later.
    Unavailable,
    /// Nothing happened, and nothing will until the configuration is changed: do not try again.
    Misconfigured,
    /// It may have happened: send the same operation again.
    Indeterminate,
    /// The store is damaged, full, or of another version: an operator has to look.
    Broken,
    /// The engine was shut down.
    ShutDown,
}

impl Error {
    /// Returns the error for an answer that the machine never gives to the command. Only a store that breaks its contract leads
    /// here.
    #[cold]
    pub(crate) fn unexpected() -> Self {
        StoreError::Incompatible { reason: "the store returned the answer to another operation".to_owned() }
            .into()
    }

    /// What kind of error this is.
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

    /// For JSON that could not be read. serde_json's own message can quote the data, which may be a secret: only kind and place
    /// are kept.
    pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        let problem = match error.is_data() {
            true => {
                "what is stored is not of the type that was asked for; read it as the type that was written"
            }
            false => "what is stored is not JSON; read its bytes",
        };
        let reason = format!("{problem} (line {}, column {})", error.line(), error.column());
        Self::Json { what, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_can_pass_by_itself_asks_for_another_try() {
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
