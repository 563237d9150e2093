//! The errors of an engine.

use std::time::Duration;

use crate::data::cause::Cause;
use crate::data::error_kind::ErrorKind;
use crate::data::key_text::KeyError;
use crate::data::lease_id::LeaseIdError;
use crate::data::month::Month;
use crate::data::state::State;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::usage::Usage;

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
    #[non_exhaustive]
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
    #[non_exhaustive]
    TooLarge {
        /// The name of the value.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value could not be converted to JSON or from JSON. The message contains neither. The
    /// source is a [`JsonError`] if JSON could not be read.
    #[error(transparent)]
    Json(Cause),
    /// A result could not be converted by the caller's [`Codec`](crate::Codec).
    #[error(transparent)]
    Codec(Cause),
    /// There is no record under the key, or its retention has ended.
    #[error("the key has no record; it was never acquired, was forgotten, or its retention has ended")]
    NotFound,
    /// Another grant has superseded this one.
    #[error("the lease was granted to another holder (token {token}); stop the work and discard its outcome")]
    #[non_exhaustive]
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
    #[non_exhaustive]
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
    #[non_exhaustive]
    Busy {
        /// The time until the lease lapses, unless it is extended.
        ttl_left: Duration,
    },
    /// The key's record was created for another request.
    #[error("the key was used for a different request; use one key per request")]
    FingerprintMismatch,
    /// The namespace has used all grants of its [quota](crate::Quota) for this month. Keys with an
    /// outcome and keys in progress still answer.
    #[error(
        "the namespace has used {} of its {} grants of {}; wait for the next month, or raise the quota",
        .0.used(), .0.limit().unwrap_or(u64::MAX), .0.month()
    )]
    QuotaExceeded(Box<Usage>),
    /// The grant under this lease id has ended, and an id is never granted twice.
    #[error("the grant under this lease id has ended; acquire with a new lease id")]
    LeaseIdReused,
    /// The store's clock or a token has reached 2^53 microseconds since 1970.
    #[error("the store's clock is past the year 2255; correct it")]
    ClockOutOfRange,
    /// The operating system returned no random bits.
    #[error(transparent)]
    Randomness(Cause),
    /// A background thread of the engine could not be started.
    #[error(transparent)]
    Thread(Cause),
    /// The engine has been closed.
    #[error("the engine has been closed and grants no more leases")]
    ShutDown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// Returns the error for an answer that does not belong to the command. Only a store that
    /// breaks its contract causes it.
    #[cold]
    pub(crate) fn unexpected() -> Self {
        StoreError::incompatible("the store returned the answer to another operation").into()
    }

    /// Returns the answer to an acquire that may be granted and is not charged. It is replaced
    /// before a caller receives it.
    #[cold]
    pub(crate) fn uncharged() -> Self {
        Self::QuotaExceeded(Box::new(Usage::new(Month::of(Timestamp::EPOCH), 0, Some(0))))
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_)
            | Self::LeaseId(_)
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Json(_)
            | Self::Codec(_)
            | Self::LeaseIdReused => ErrorKind::Invalid,
            Self::NotFound => ErrorKind::NotFound,
            Self::NotHolder { .. } | Self::Lapsed | Self::Released => ErrorKind::Lost,
            Self::Finished { .. } => ErrorKind::Finished,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::FingerprintMismatch => ErrorKind::Mismatch,
            Self::QuotaExceeded(_) => ErrorKind::QuotaExceeded,
            Self::Randomness(_) | Self::Thread(_) => ErrorKind::Unavailable,
            Self::ShutDown => ErrorKind::ShutDown,
            Self::Store(error) => error.kind(),
            Self::ClockOutOfRange => ErrorKind::Broken,
        }
    }

    /// Returns [`Invalid`](Self::Invalid). The reason states the problem and its solution.
    #[must_use]
    pub fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }

    /// Returns the error of a [`Codec`](crate::Codec), with the reason for which a value or its
    /// bytes were refused. The reason must not quote them.
    #[must_use]
    pub fn codec(reason: impl Into<String>) -> Self {
        Self::Codec(Cause::new(reason.into()))
    }

    /// Returns the error for stored JSON that could not be read. The message of `serde_json` can
    /// quote the data, which may be secret, so only the kind of the problem and its position are
    /// kept.
    pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        let problem = match error.is_data() {
            true => {
                "the stored value has another type; read it as the type that was written, or use another key"
            }
            false => "the stored value is not JSON; read its bytes",
        };
        Self::unconverted(what, problem, Some(error))
    }

    /// Returns the error for a value that could not be converted, with the position of `error`.
    pub(crate) fn unconverted(what: &str, reason: &str, error: Option<&serde_json::Error>) -> Self {
        let cause = Cause::new(format!("{what} could not be converted: {reason}"));
        Self::Json(match error {
            Some(error) => cause.with_source(JsonError::at(error)),
            None => cause,
        })
    }
}

/// The position in a JSON text at which it could not be read as a value. Contains nothing of the
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct JsonError {
    line: usize,
    column: usize,
}

impl JsonError {
    pub(crate) fn at(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }

    /// Returns the line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in bytes, from 1; 0 if the line is empty.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    fn all(reason: &str) -> [StoreError; 6] {
        [
            StoreError::unavailable(reason),
            StoreError::misconfigured(reason),
            StoreError::indeterminate(reason),
            StoreError::corrupt("place", reason),
            StoreError::full(reason),
            StoreError::incompatible(reason),
        ]
    }

    #[test]
    fn store_errors_have_the_kind_that_tells_whether_to_retry() {
        use ErrorKind::{Broken, Indeterminate, Misconfigured, Unavailable};
        let kinds = [Unavailable, Misconfigured, Indeterminate, Broken, Broken, Broken];
        for (error, kind) in all("").into_iter().zip(kinds) {
            assert_eq!((error.kind(), Error::Store(error.clone()).kind()), (kind, kind), "{error}");
        }
        assert_eq!(Error::Store(StoreError::too_large(2, 1)).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn the_error_of_the_operating_system_can_be_recovered_from_every_store_error() {
        const ENOSPC: i32 = 28;
        for error in all("it failed") {
            let error = Error::Store(error.with_source(io::Error::from_raw_os_error(ENOSPC))).clone();
            let source: &io::Error = error.source().and_then(|source| source.downcast_ref()).unwrap();
            assert_eq!(source.raw_os_error(), Some(ENOSPC));
            let (short, long) = (error.to_string(), format!("{error:#}"));
            assert!(short.ends_with("it failed"), "{short}");
            assert_eq!(long, format!("{short}: {source}"), "the source is shown once");
        }
        let too_large = StoreError::too_large(2, 1).with_source(io::Error::from_raw_os_error(ENOSPC));
        assert!(too_large.source().is_none());
    }

    #[test]
    fn p11_an_error_about_json_gives_the_place_and_nothing_of_the_text() {
        let error = serde_json::from_str::<u32>("\n  \"secret\"").unwrap_err();
        let error = Error::json("result", &error);
        let source: &JsonError = error.source().and_then(|source| source.downcast_ref()).unwrap();
        assert_eq!((source.line(), source.column()), (2, 10));
        let shown = format!("{error} {error:#} {error:?}");
        assert!(shown.contains("line 2, column 10") && !shown.contains("secret"), "{shown}");
    }
}
