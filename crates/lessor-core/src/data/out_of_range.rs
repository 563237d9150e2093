//! The error of a number that cannot be a token or a timestamp.

/// A number of 2^53 or more, which is neither a [`Token`](crate::Token) nor the microseconds of a
/// [`Timestamp`](crate::Timestamp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is out of range; it must be below 2^53")]
pub struct OutOfRange {
    what: &'static str,
    value: u64,
}

impl OutOfRange {
    pub(crate) const fn new(what: &'static str, value: u64) -> Self {
        Self { what, value }
    }

    /// Returns the number.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use crate::data::time::Timestamp;
    use crate::data::token::Token;

    #[test]
    fn p12_numbers_from_2_pow_53_on_are_refused_with_an_error() {
        let token: Box<dyn Error> = Token::try_from(1 << 53).unwrap_err().into();
        assert_eq!(token.to_string(), "token 9007199254740992 is out of range; it must be below 2^53");
        let timestamp = Timestamp::try_from(u64::MAX).unwrap_err();
        assert!(timestamp.to_string().contains("timestamp"), "{timestamp}");
        assert_eq!(timestamp.value(), u64::MAX);
        assert_eq!(Token::try_from((1 << 53) - 1), Ok(Token::MAX));
        assert_eq!(Timestamp::try_from((1 << 53) - 1), Ok(Timestamp::MAX));
        assert!(serde_json::from_str::<Token>("9007199254740992").is_err());
    }
}
