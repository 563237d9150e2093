//! Times and durations as text.

use std::time::Duration;

use lessor::Timestamp;

/// Returns a time as `2026-12-01T03:00:00Z`.
pub(crate) fn at(at: Timestamp) -> String {
    humantime::format_rfc3339_seconds(at.to_system_time()).to_string()
}

/// Returns a duration such as `4m 12s`, in whole seconds if it is at least ten seconds, and
/// otherwise in whole milliseconds.
pub(crate) fn duration(duration: Duration) -> String {
    let shown = match duration.as_secs() {
        0..10 => Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(shown).to_string()
}

/// Parses a duration such as `30s`, `5m` or `1h 30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, such as 30s, 5m or 12h"))
}
