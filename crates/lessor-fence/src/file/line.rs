//! The lines of the file.
//!
//! ```text
//! 2d5a1f03<TAB>lessor-fence 1                        the first line: the format
//! 91c0b7aa<TAB>floor<TAB>1767225600000000            the lowest token of an unknown key
//! 5e0f44d1<TAB>token<TAB>1767225600000123<TAB>invoice:42
//! ```
//!
//! A line begins with the CRC-32C of what follows the first tab, and ends with a line feed. No line
//! contains a zero byte, because keys have no control characters. So bytes that a crash left
//! unwritten, which are zeros, are recognised.

use std::str;

use crc32c::crc32c;
use lessor_core::{Key, MAX_KEY_CHARS};

/// The format of the file.
const FORMAT: u64 = 1;
const TITLE: &str = "lessor-fence ";
/// The digits of the checksum.
const SUM: usize = 8;
/// The length of the longest line: checksum, `token`, a number, and a key of characters of four
/// bytes.
pub(super) const MAX_LINE: usize = SUM + "\ttoken\t\t\n".len() + 20 + 4 * MAX_KEY_CHARS;

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Format(u64),
    Floor(u64),
    Token(u64, &'a str),
}

impl Line<'_> {
    /// The first line of every file.
    pub(super) const FIRST: Self = Self::Format(FORMAT);

    /// Appends the line to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Format(format) => format!("{TITLE}{format}"),
            Self::Floor(floor) => format!("floor\t{floor}"),
            Self::Token(token, key) => format!("token\t{token}\t{key}"),
        };
        out.extend_from_slice(format!("{:08x}\t{text}\n", crc32c(text.as_bytes())).as_bytes());
    }
}

/// Returns the text of a line without its line feed, or the reason that it has none.
pub(super) fn verify(line: &[u8]) -> Result<&str, &'static str> {
    let (sum, rest) = line.split_at_checked(SUM).ok_or("the line is too short")?;
    let text = rest.strip_prefix(b"\t").ok_or("the line does not begin with a checksum")?;
    if format!("{:08x}", crc32c(text)).as_bytes() != sum {
        return Err("the checksum is wrong");
    }
    str::from_utf8(text).map_err(|_| "the line is not UTF-8")
}

/// Returns the meaning of the text of a line.
pub(super) fn parse(text: &str) -> Result<Line<'_>, &'static str> {
    if let Some(format) = text.strip_prefix(TITLE) {
        return number(format).map(Line::Format);
    }
    match text.split_once('\t') {
        Some(("floor", floor)) => number(floor).map(Line::Floor),
        Some(("token", rest)) => {
            let (token, key) = rest.split_once('\t').ok_or("the key is missing")?;
            Key::check(key).map_err(|_| "the key is not a valid one")?;
            Ok(Line::Token(number(token)?, key))
        }
        _ => Err("the kind of the line is unknown"),
    }
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a number is malformed")
}

/// Returns whether this is the format that is written and read.
pub(super) fn is_known(format: u64) -> bool {
    format == FORMAT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let longest = "🦀".repeat(MAX_KEY_CHARS);
        for line in [Line::FIRST, Line::Floor(0), Line::Token(7, "a b"), Line::Token(u64::MAX, &longest)] {
            let mut bytes = Vec::new();
            line.write(&mut bytes);
            assert!(bytes.len() <= MAX_LINE && !bytes.contains(&0));
            let text = verify(bytes.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!(parse(text), Ok(line));
        }
    }
}
