//! The reason that work failed.

use std::fmt;
use std::time::Duration;

use crate::data::time::{Timestamp, whole_micros};

/// The reason that the work of a key failed.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) code: Box<str>,
    pub(crate) detail: Option<Box<str>>,
    /// The time after which the work may be tried again, in µs. See
    /// [`retry_after`](Self::retry_after).
    pub(crate) retry_after: Option<u64>,
}

impl Failure {
    /// The longest wait before a retry: every sum with a timestamp is in the range of `u64`.
    pub(crate) const MAX_RETRY_AFTER: u64 = Timestamp::MAX.as_micros();

    /// Returns a failure without a check of the limits, for callers of the rules.
    #[doc(hidden)]
    #[must_use]
    pub fn new(code: &str, detail: Option<&str>) -> Self {
        Self { code: code.into(), detail: detail.map(Into::into), retry_after: None }
    }

    /// Returns the failure with a retry: from `wait` after the failure on, an acquire by any caller
    /// is granted, whatever its policy for failures. Rounded up to whole microseconds.
    #[doc(hidden)]
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(whole_micros(wait).min(Self::MAX_RETRY_AFTER)), ..self }
    }

    /// Returns the time from which every caller may try again the work that failed at `done_at`.
    /// `None` if the callers' policies decide.
    pub(crate) fn retry_at(&self, done_at: Timestamp) -> Option<Timestamp> {
        self.retry_after.map(|micros| done_at.saturating_add(Duration::from_micros(micros)))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({:?})", self.code)
    }
}
