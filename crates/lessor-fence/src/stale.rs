//! The refusal of a token.

use serde::{Deserialize, Serialize};

/// A token was refused, because the fence has seen a higher one. A newer holder has the key, so the
/// caller has to stop its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("token {token} is stale: {highest} is the lowest that is accepted; stop the work, its lease is over")]
#[non_exhaustive]
pub struct StaleToken {
    /// The refused token.
    pub token: u64,
    /// The highest token of the key. For a key that was forgotten, the token below which keys were
    /// forgotten.
    pub highest: u64,
}
