//! Fingerprints of requests.

mod canonical;

use std::fmt;

use crate::data::hash::{hex, sha256};

/// SHA-256 of the request that a key stands for.
///
/// An acquire that carries one is refused with `FingerprintMismatch` when the key's record was made for another
/// request: the caller reused a key by mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the request's raw bytes.
    #[must_use]
    pub fn of_bytes(request: &[u8]) -> Self {
        Self(sha256(request))
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The fingerprint that `bytes` are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex(&self.0))
    }
}
