//! The errors of a store.

use std::error::Error;
use std::fmt;

use crate::data::cause::Cause;
use crate::data::decode_error::DecodeError;
use crate::data::error_kind::ErrorKind;

/// An error of a store. Each variant states whether a write has happened.
///
/// A store creates one from a reason, and adds the error that led to it if there is one:
///
/// ```
/// # use lessor_core::StoreError;
/// # fn connect() -> std::io::Result<()> { Ok(()) }
/// connect().map_err(|error| StoreError::unavailable("no connection to the database").with_source(error))?;
/// # Ok::<(), StoreError>(())
/// ```
///
/// `{}` shows the reason, and `{:#}` the reason and the sources. [`source`](Error::source) returns
/// the first source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The write has not happened and never will. The cause may be temporary, so the same call may
    /// succeed later.
    Unavailable(Cause),
    /// The write may have happened, or may still happen. The engine reads the record and recognises
    /// its own write; a caller may send the same operation again.
    Indeterminate(Cause),
    /// The write has not happened and never will, and the same call fails until the configuration
    /// is changed. For example, the path is a file, a permission is missing, the password is wrong,
    /// or the database does not exist. The reason states the problem and its solution.
    Misconfigured(Cause),
    /// The stored data is damaged.
    #[non_exhaustive]
    Corrupt {
        /// The file and offset, or the key.
        place: String,
        /// The inconsistency that was found.
        cause: Cause,
    },
    /// The store has no space left. Nothing was changed.
    Full(Cause),
    /// The record is larger than the store can hold. Nothing was changed.
    #[non_exhaustive]
    TooLarge {
        /// The size of the record in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The version of the data, of the server or of the library is not supported.
    Incompatible(Cause),
}

impl StoreError {
    /// Returns [`Unavailable`](Self::Unavailable).
    #[must_use]
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable(Cause::new(reason))
    }

    /// Returns [`Indeterminate`](Self::Indeterminate).
    #[must_use]
    pub fn indeterminate(reason: impl Into<String>) -> Self {
        Self::Indeterminate(Cause::new(reason))
    }

    /// Returns [`Misconfigured`](Self::Misconfigured). The reason states what to change.
    #[must_use]
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        Self::Misconfigured(Cause::new(reason))
    }

    /// Returns [`Corrupt`](Self::Corrupt).
    #[must_use]
    pub fn corrupt(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into(), cause: Cause::new(reason) }
    }

    /// Returns [`Full`](Self::Full).
    #[must_use]
    pub fn full(reason: impl Into<String>) -> Self {
        Self::Full(Cause::new(reason))
    }

    /// Returns [`TooLarge`](Self::TooLarge).
    #[must_use]
    pub fn too_large(size: u64, limit: u64) -> Self {
        Self::TooLarge { size, limit }
    }

    /// Returns [`Incompatible`](Self::Incompatible).
    #[must_use]
    pub fn incompatible(reason: impl Into<String>) -> Self {
        Self::Incompatible(Cause::new(reason))
    }

    /// Returns the error for a record under `place` that could not be decoded.
    #[must_use]
    pub fn undecodable(place: impl Into<String>, error: DecodeError) -> Self {
        match error {
            DecodeError::NewerFormat { .. } | DecodeError::UnknownField { .. } => {
                Self::incompatible(format!("{} ({error})", place.into()))
            }
            DecodeError::Damaged { .. } => Self::corrupt(place, error.to_string()),
        }
    }

    /// Sets the error that led to this one. Its text must not contain a secret. [`TooLarge`](Self::TooLarge) has none.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.map_cause(|cause| cause.with_source(source))
    }

    /// Changes the cause, if the error has one.
    #[must_use]
    pub fn map_cause(self, f: impl FnOnce(Cause) -> Cause) -> Self {
        match self {
            Self::Unavailable(cause) => Self::Unavailable(f(cause)),
            Self::Indeterminate(cause) => Self::Indeterminate(f(cause)),
            Self::Misconfigured(cause) => Self::Misconfigured(f(cause)),
            Self::Corrupt { place, cause } => Self::Corrupt { place, cause: f(cause) },
            Self::Full(cause) => Self::Full(f(cause)),
            Self::Incompatible(cause) => Self::Incompatible(f(cause)),
            Self::TooLarge { .. } => self,
        }
    }

    /// Returns the reason and the source, except for [`TooLarge`](Self::TooLarge).
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unavailable(cause)
            | Self::Indeterminate(cause)
            | Self::Misconfigured(cause)
            | Self::Corrupt { cause, .. }
            | Self::Full(cause)
            | Self::Incompatible(cause) => Some(cause),
            Self::TooLarge { .. } => None,
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Indeterminate(_) => ErrorKind::Indeterminate,
            Self::Misconfigured(_) => ErrorKind::Misconfigured,
            Self::Corrupt { .. } | Self::Full(_) | Self::Incompatible(_) => ErrorKind::Broken,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(_) => f.write_str("the store is unavailable, nothing was changed: ")?,
            Self::Indeterminate(_) => f.write_str(
                "the write may or may not have happened; send the same operation again to find out: ",
            )?,
            Self::Misconfigured(_) => {
                f.write_str("the store is misconfigured, nothing was changed: ")?;
            }
            Self::Corrupt { place, .. } => write!(f, "stored data is damaged at {place}: ")?,
            Self::Full(_) => f.write_str("the store is full, nothing was changed: ")?,
            Self::TooLarge { size, limit } => write!(
                f,
                "the record has {size} bytes, but the store holds at most {limit}, nothing was changed; store the value elsewhere and \
                 keep a reference"
            )?,
            Self::Incompatible(_) => f.write_str("incompatible: ")?,
        }
        self.cause().map_or(Ok(()), |cause| cause.fmt(f))
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause()?.source()
    }
}
