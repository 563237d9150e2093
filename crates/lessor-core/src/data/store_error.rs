//! The errors of a store.

use crate::data::codec::DecodeError;

/// An error of a store. Each variant states whether a write has happened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The write has not happened and never will. The cause may be temporary, so the same call may
    /// succeed later.
    #[error("the store is unavailable, nothing was changed: {reason}")]
    Unavailable {
        /// The cause, as far as the store knows it.
        reason: String,
    },
    /// The write may have happened, or may still happen. Read the record, or send the same
    /// operation again.
    #[error("the write may or may not have happened; send the same operation again to find out: {reason}")]
    Indeterminate {
        /// The cause, as far as the store knows it.
        reason: String,
    },
    /// The write has not happened and never will, and the same call fails until the configuration
    /// is changed. For example, the path is a file, a permission is missing, the password is wrong,
    /// or the database does not exist.
    #[error("the store is misconfigured, nothing was changed: {reason}")]
    Misconfigured {
        /// The problem and its solution.
        reason: String,
    },
    /// The stored data is damaged.
    #[error("stored data is damaged at {place}: {reason}")]
    Corrupt {
        /// The file and offset, or the key.
        place: String,
        /// The inconsistency that was found.
        reason: String,
    },
    /// The store has no space left. Nothing was changed.
    #[error("the store is full, nothing was changed: {reason}")]
    Full {
        /// The exhausted resource.
        reason: String,
    },
    /// The record is larger than the store can hold. Nothing was changed.
    #[error(
        "the record has {size} bytes, but the store holds at most {limit}, nothing was changed; store the value elsewhere and keep a reference"
    )]
    TooLarge {
        /// The size of the record in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The version of the data, of the server or of the library is not supported.
    #[error("incompatible: {reason}")]
    Incompatible {
        /// The unsupported version and the supported ones.
        reason: String,
    },
}

impl StoreError {
    /// Returns the error for a record under `place` that could not be decoded.
    #[must_use]
    pub fn undecodable(place: impl Into<String>, error: DecodeError) -> Self {
        match error {
            DecodeError::NewerFormat { .. } | DecodeError::UnknownField { .. } => {
                Self::Incompatible { reason: format!("{} ({error})", place.into()) }
            }
            DecodeError::Damaged { .. } => Self::Corrupt { place: place.into(), reason: error.to_string() },
        }
    }
}
