//! The errors of a store.

use crate::data::codec::DecodeError;

/// What went wrong in a store, and what that says about the write.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing happened and nothing will. The cause can pass by itself, so the same call may succeed later.
    #[error("store is unavailable, nothing was changed: {reason}")]
    Unavailable {
        /// What the store knows about it.
        reason: String,
    },
    /// The write may have happened, or may happen yet. Read the record, or send the same operation again.
    #[error("the write may or may not have happened; send the same operation again to find out: {reason}")]
    Indeterminate {
        /// What the store knows about it.
        reason: String,
    },
    /// Nothing happened and nothing will, and the same call fails again until the configuration is changed: the path is a file,
    /// a permission is missing, the password is wrong, there is no such database. Trying again does not help.
    #[error("store cannot be used as it is configured, nothing was changed: {reason}")]
    Misconfigured {
        /// What does not work, and what to change.
        reason: String,
    },
    /// What is stored is damaged. The store refuses to guess.
    #[error("stored data is damaged at {place}: {reason}")]
    Corrupt {
        /// File and offset, or key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// There is no room. Nothing was changed.
    #[error("store is full, nothing was changed: {reason}")]
    Full {
        /// What ran out.
        reason: String,
    },
    /// The record is larger than the store can ever keep. Nothing was changed.
    #[error(
        "the record has {size} bytes, and the store keeps at most {limit}, nothing was changed; store the value elsewhere and keep a reference"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The data, the server or the library is of a version that does not fit.
    #[error("incompatible: {reason}")]
    Incompatible {
        /// What does not fit, and what would.
        reason: String,
    },
}

impl StoreError {
    /// The error for a record under `place` that could not be decoded.
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
