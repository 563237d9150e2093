//! Times and durations as the replies show them.

use std::time::Duration;

use humantime::format_rfc3339_seconds;
use lessor_core::Timestamp;

/// Returns a time such as `2025-01-15T10:30:00Z`. The fraction of the second is cut.
pub(crate) fn text(at: Timestamp) -> String {
    format_rfc3339_seconds(at.to_system_time()).to_string()
}

/// Returns a day such as `2025-01-15`, in UTC.
pub(crate) fn day(at: Timestamp) -> String {
    text(at).chars().take(10).collect()
}

/// Returns a month such as `2025-01`, in UTC.
pub(crate) fn month(at: Timestamp) -> String {
    text(at).chars().take(7).collect()
}

/// Returns whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_seconds_and_durations_are_rounded_up() {
        let at = Timestamp::from_micros(1_736_937_000_999_999).unwrap();
        assert_eq!((text(at).as_str(), day(at).as_str()), ("2025-01-15T10:30:00Z", "2025-01-15"));
        assert_eq!(month(at), "2025-01");
        let millis = Duration::from_millis;
        assert_eq!([millis(1), millis(1000), millis(1001)].map(seconds), [1, 1, 2]);
        assert_eq!(seconds(Duration::ZERO), 0);
    }
}
