//! Values in replies.

use lessor_core::Timestamp;
use redis::Value;

/// Parses a time as `TIME` returns it: seconds and microseconds.
pub(crate) fn parse_time(parts: &[Value]) -> Option<Timestamp> {
    let mut numbers = parts.iter().map(parse_number);
    let (seconds, micros) = (numbers.next()??, numbers.next()??);
    Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?)
}

fn parse_number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

/// Returns the text of a value, or an empty string if the value is no text.
pub(crate) fn text_of(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        _ => String::new(),
    }
}
