//! The retention and the length of the history of an engine's records.

use std::time::Duration;

use crate::data::time::{Timestamp, whole_micros};

/// The retention of the records that an engine writes, and the length of their history.
///
/// A [`Duration`] converts into the retention, with a history of the default length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// In µs.
    retention: u64,
    /// The maximum number of entries of a history.
    history: u8,
}

impl Keep {
    /// The default maximum number of entries of a history.
    pub(crate) const HISTORY: u8 = 16;

    /// Returns the retention of finished, released and abandoned records, and the maximum number of
    /// entries of their history.
    #[must_use]
    pub fn new(retention: Duration, history: u8) -> Self {
        Self { retention: whole_micros(retention), history }
    }

    /// Returns the time until which a record that ends at `at` is kept.
    #[inline]
    pub(crate) fn until(self, at: Timestamp) -> Timestamp {
        at.saturating_add_micros(self.retention)
    }

    /// Returns the maximum number of entries of a history.
    #[inline]
    pub(crate) fn history(self) -> u8 {
        self.history
    }
}

impl From<Duration> for Keep {
    fn from(retention: Duration) -> Self {
        Self::new(retention, Self::HISTORY)
    }
}
