//! The policies of an acquire for work that failed before or whose lease has lapsed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::error::Error;
use crate::data::time::Timestamp;

/// The behaviour of an acquire if the work has failed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnFailed {
    /// Returns the failure until its retention ends. The work is not run again.
    #[default]
    Replay,
    /// Grants the key again, until there have been `max_attempts` grants.
    Retry {
        /// The maximum number of grants, including the first. At least 1.
        max_attempts: u32,
        /// The wait after a failure before the next grant.
        backoff: Backoff,
    },
}

impl OnFailed {
    /// Refuses a policy that allows no attempt.
    pub(crate) fn check(self) -> Result<Self, Error> {
        match self {
            Self::Retry { max_attempts: 0, .. } => {
                let reason = "0 attempts do not allow the first; give at least 1, or use OnFailed::Replay";
                Err(Error::invalid("max_attempts", reason))
            }
            policy => Ok(policy),
        }
    }

    /// Returns the time from which the work that failed at `done_at` may be retried, if it may.
    pub(crate) fn retry_at(self, attempt: u32, done_at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Retry { max_attempts, backoff } if attempt < max_attempts => {
                Some(done_at.saturating_add(backoff.after(attempt)))
            }
            _ => None,
        }
    }
}

/// The wait between a failure and the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    #[serde(with = "humantime_serde")]
    first: Duration,
    #[serde(with = "humantime_serde")]
    most: Duration,
}

impl Backoff {
    /// No wait.
    pub const NONE: Self = Self::fixed(Duration::ZERO);

    /// Returns a backoff with the same wait after each failure.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self { first: wait, most: wait }
    }

    /// Returns a backoff of `first` after the first failure, which doubles with each further
    /// failure up to `most`.
    #[must_use]
    pub const fn exponential(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    fn after(self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

/// The behaviour of an acquire if the last lease has lapsed without an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnLapsed {
    /// Grants the key to the caller. The work is done at least once, and may be done twice. If the
    /// last holder has left the key [in doubt](crate::Lease::leave_in_doubt), the answer is as with
    /// [`InDoubt`](Self::InDoubt).
    #[default]
    TakeOver,
    /// Returns that the outcome is in doubt, until an operator resolves it. The work is done at
    /// most once.
    InDoubt,
    /// Grants the key to the caller, which finds out first whether the work was done. Unlike with
    /// [`TakeOver`](Self::TakeOver), a key that its last holder left in doubt is granted as well.
    Reconcile,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_never_overflows() {
        let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<_> = (1..=6).map(|attempt| backoff.after(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.after(u32::MAX), Duration::from_secs(10));
    }
}
