//! Fingerprints of requests.

mod canonical;

use std::fmt;

use crate::data::hash::{hex, sha256};

/// The SHA-256 hash of the request that a key stands for.
///
/// An acquire with a fingerprint is refused with
/// [`Error::FingerprintMismatch`](crate::Error::FingerprintMismatch) if the key's record was
/// created for another request. This detects keys that are reused by mistake.
///
/// # Examples
///
/// ```
/// use lessor_core::Fingerprint;
///
/// assert_eq!(Fingerprint::of(&("pay", 10))?, Fingerprint::of_bytes(br#"["pay",10]"#));
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a request that is given as bytes.
    #[must_use]
    pub fn of_bytes(request: &[u8]) -> Self {
        Self(sha256(request))
    }

    /// Returns the 32 bytes of the hash.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Returns the fingerprint with these bytes.
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
