//! The token and the version of a record.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::out_of_range::OutOfRange;
use crate::data::time::Timestamp;

/// A fencing token. Tokens rise strictly over all grants of a key, across expiry, release, purge,
/// restart and fail-over.
///
/// Send the token with every effect, so that a resource which remembers the highest token can
/// reject a superseded holder. Tokens are below 2^53, so JSON numbers represent them exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Token(pub(crate) u64);

impl Token {
    /// The largest possible token.
    pub const MAX: Self = Self(Timestamp::MAX.as_micros());

    /// Returns the token with this number, or `None` from 2^53 on.
    #[must_use]
    pub const fn from_u64(token: u64) -> Option<Self> {
        if token <= Self::MAX.0 { Some(Self(token)) } else { None }
    }

    /// Returns `max(now in µs, previous + 1)`. Since clocks never run backwards, this rises even if
    /// the previous record was purged or lost. Without a previous token, 0 is assumed, which is
    /// never granted. Returns `None` once the numbers are used up, in the year 2255.
    pub(crate) fn after(previous: Option<Self>, now: Timestamp) -> Option<Self> {
        Self::from_u64(now.as_micros().max(previous.map_or(0, |token| token.0) + 1))
    }

    /// Returns the token as a number, for comparisons.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl TryFrom<u64> for Token {
    type Error = OutOfRange;
    fn try_from(token: u64) -> Result<Self, OutOfRange> {
        Self::from_u64(token).ok_or(OutOfRange::new("token", token))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of a change of a key's record, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Version(pub(crate) u64);

impl Version {
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the version as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
