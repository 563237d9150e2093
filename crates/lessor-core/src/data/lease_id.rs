//! Lease ids.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::data::hash::push_hex;

const PREFIX: &str = "lease_";

/// The secret that identifies the holder of a grant: 128 random bits.
///
/// `Debug` does not show it, there is no `Display`, and comparisons take constant time.
/// [`reveal`](Self::reveal) returns its text, to pass it to a holder in another process.
#[derive(Clone, Copy)]
pub struct LeaseId([u8; 16]);

impl LeaseId {
    /// Returns the 16 bytes of the id, as a record stores them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the secret as text: `lease_` and 32 hexadecimal digits. It must not appear in logs.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = String::with_capacity(PREFIX.len() + 32);
        text.push_str(PREFIX);
        push_hex(&mut text, &self.0);
        text
    }
}

impl PartialEq for LeaseId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // Compared as one number, because a comparison of single bytes would take as long as the
        // rest of an operation.
        u128::from_ne_bytes(self.0).ct_eq(&u128::from_ne_bytes(other.0)).into()
    }
}

impl Eq for LeaseId {}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(redacted)")
    }
}

/// The text is not a lease id. The error does not contain the text, which may be part of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lease id; expected `lease_` followed by 32 hexadecimal digits")]
pub struct LeaseIdError;

impl FromStr for LeaseId {
    type Err = LeaseIdError;

    fn from_str(text: &str) -> Result<Self, LeaseIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(LeaseIdError)?;
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(LeaseIdError);
        }
        u128::from_str_radix(digits, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| LeaseIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_debug_hides_the_lease_id_and_the_text_form_round_trips() {
        let id = LeaseId::random().unwrap();
        assert_eq!(format!("{id:?}"), "LeaseId(redacted)");
        assert_eq!(id.reveal().parse::<LeaseId>().unwrap(), id);
        assert_eq!(id.reveal().len(), 38);
    }

    #[test]
    fn p12_malformed_ids_are_refused() {
        for bad in
            ["", "lease_", "lease_0", "lease_+123456789abcdef0123456789abcdef", "x", &"lease_é".repeat(9)]
        {
            assert_eq!(bad.parse::<LeaseId>(), Err(LeaseIdError));
        }
    }
}
