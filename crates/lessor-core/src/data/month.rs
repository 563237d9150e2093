//! [`Month`], a month of the calendar.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::data::time::Timestamp;

/// A month of the calendar, in UTC. `Display` and `Serialize` write it as `2026-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// The number of months since January of the year 0.
    number: u32,
}

impl Month {
    /// Returns the month of a time.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let seconds = Duration::from_secs(at.as_micros() / 1_000_000);
        let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).to_string();
        let mut parts = text.splitn(3, '-').map(|part| part.parse().unwrap_or(0));
        let (year, month) = (parts.next().unwrap_or(0), parts.next().unwrap_or(1));
        Self { number: year * 12 + month - 1 }
    }

    /// Returns the year.
    #[must_use]
    pub fn year(self) -> u32 {
        self.number / 12
    }

    /// Returns the month of the year, from 1 to 12.
    #[must_use]
    pub fn month(self) -> u32 {
        self.number % 12 + 1
    }

    /// Returns the beginning of the month.
    #[must_use]
    pub fn start(self) -> Timestamp {
        let since = humantime::parse_rfc3339(&format!("{self}-01T00:00:00Z"))
            .ok()
            .and_then(|start| start.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_micros()).ok());
        since.and_then(Timestamp::from_micros).unwrap_or(Timestamp::MAX)
    }

    /// Returns the next month.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1) }
    }

    pub(crate) fn number(self) -> u32 {
        self.number
    }

    pub(crate) fn from_number(number: u32) -> Self {
        Self { number }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.month())
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_with_its_first_microsecond_and_ends_before_the_next() {
        let mut month = Month::of(Timestamp::EPOCH);
        assert_eq!((month.to_string(), month.start()), ("1970-01".to_owned(), Timestamp::EPOCH));
        // Until the largest timestamp, in the year 2255.
        while month.next().start() < Timestamp::MAX {
            let (start, end) = (month.start(), month.next().start());
            let days = end.saturating_since(start).as_secs() / 86_400;
            assert!((28..=31).contains(&days), "{month} has {days} days");
            assert_eq!((Month::of(start), Month::of(end)), (month, month.next()));
            assert_eq!(Month::of(end.saturating_sub(Duration::from_micros(1))), month);
            month = month.next();
        }
        assert_eq!(month.to_string(), "2255-06");
        assert_eq!(Month::of(Timestamp::MAX), month);
    }
}
