//! Formats numbers with two or three significant digits.

use crate::results::Unit;

/// Keeps a number and its unit on one line.
pub(super) const THIN: char = '\u{202f}';

/// Formats a value in the unit of a case.
pub(super) fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond => rate(value),
        Unit::Seconds => time(value),
    }
}

/// Formats a count such as `1.23 M`.
pub(super) fn rate(value: f64) -> String {
    let value = rounded(value);
    match value {
        v if v >= 1e9 => with_unit(v / 1e9, "G"),
        v if v >= 1e6 => with_unit(v / 1e6, "M"),
        v if v >= 1e3 => with_unit(v / 1e3, "k"),
        v => digits(v),
    }
}

/// Formats a duration such as `12.3 ms`.
pub(super) fn time(seconds: f64) -> String {
    let seconds = rounded(seconds);
    match seconds {
        s if s <= 0.0 => with_unit(0.0, "s"),
        s if s < 1e-6 => with_unit(s * 1e9, "ns"),
        s if s < 1e-3 => with_unit(s * 1e6, "µs"),
        s if s < 1.0 => with_unit(s * 1e3, "ms"),
        s => with_unit(s, "s"),
    }
}

/// Formats a ratio with two decimals, more below a tenth, and fewer above ten.
pub(super) fn ratio(value: f64) -> String {
    match value {
        v if v > 1e6 => format!(">{THIN}{}", count(1e6)),
        v if v >= 99.95 => count(v),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.0995 || v <= 0.0 => format!("{v:.2}"),
        v if v >= 0.001 => format!("{v:.3}"),
        _ => format!("<{THIN}0.001"),
    }
}

/// Formats a whole number, with a thin space every three digits.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

/// Formats the label of a grid line, as short as possible.
pub(super) fn tick(unit: Unit, at: f64) -> String {
    let text = value(unit, at);
    let (number, unit) = text.split_once(THIN).unwrap_or((&text, ""));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    if unit.is_empty() { number.to_owned() } else { format!("{number}{THIN}{unit}") }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{}{THIN}{unit}", digits(value))
}

/// Formats a number with at most three significant digits.
fn digits(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{v:.1e}"),
        v if v >= 99.95 => count(v),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.01 || v <= 0.0 => format!("{v:.2}"),
        v => format!("{v:.1e}"),
    }
}

/// Rounds to three digits, so that 999.9 k becomes 1 M before its unit is chosen.
fn rounded(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 0.0;
    }
    format!("{value:.2e}").parse().ok().filter(|value: &f64| value.is_finite()).unwrap_or(value)
}
