//! The bytes of a result or a checkpoint.

use std::fmt;
use std::sync::Arc;

use crate::data::hash::{hex, sha256};

/// Bytes that a holder stores: a result or a checkpoint.
///
/// Up to 70 bytes are stored inline, and more are shared by all clones. A payload is created either
/// from bytes in memory, or by decoding them together with a matching SHA-256. So there is no
/// payload that was damaged in storage.
#[derive(Clone)]
pub struct Payload(Bytes);

#[derive(Clone)]
enum Bytes {
    Short(u8, [u8; Payload::SHORT]),
    Long(Arc<[u8]>),
}

impl Payload {
    /// The number of bytes that are stored inline.
    const SHORT: usize = 70;

    /// Returns a payload without a check of the limits, for callers of the rules.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        let mut short = [0; Self::SHORT];
        match (u8::try_from(bytes.len()), short.get_mut(..bytes.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(bytes);
                Self(Bytes::Short(length, short))
            }
            _ => Self(Bytes::Long(bytes.into())),
        }
    }

    /// Returns `None` if `digest` is not the SHA-256 of the bytes.
    pub(crate) fn verified(bytes: &[u8], digest: [u8; 32]) -> Option<Self> {
        (sha256(bytes) == digest).then(|| Self::new(bytes))
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes().len())
    }
}

/// Returns the hash of a result: the caller's own, or else the SHA-256 in hex.
pub(crate) fn result_hash(bytes: &[u8], own: Option<&str>) -> String {
    own.map_or_else(|| hex(&sha256(bytes)), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_returned_as_they_were_given() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(Payload::new(&bytes).bytes(), bytes);
        }
        assert_eq!(Payload::new(&vec![7; 1 << 20]).bytes(), vec![7; 1 << 20]);
    }
}
