//! The text of a key, and the rules about it.

/// The maximum length of a key, in characters.
pub const MAX_KEY_CHARS: usize = 256;

/// The reason that a text is not a valid key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is empty.
    #[error("key is empty; name the piece of work, for instance \"invoice:42\"")]
    Empty,
    /// The text contains only whitespace.
    #[error("key contains only whitespace; name the piece of work, for instance \"invoice:42\"")]
    Blank,
    /// The text has more than 256 characters.
    #[error("key has {chars} characters; at most 256 are allowed; use a hash as the key")]
    #[non_exhaustive]
    TooLong {
        /// The number of characters.
        chars: usize,
    },
    /// The text contains a control character, such as a line break.
    #[error("key has the control character {found:?} at byte {at}; remove or encode it")]
    #[non_exhaustive]
    Control {
        /// The character.
        found: char,
        /// The byte offset of the character.
        at: usize,
    },
}

/// Checks whether `text` is a valid key.
#[inline]
pub(crate) fn check(text: &str) -> Result<(), KeyError> {
    let bytes = text.as_bytes();
    // Most keys are short printable ASCII, which is detected without decoding.
    if bytes.first().is_some_and(|first| *first != b' ')
        && bytes.len() <= MAX_KEY_CHARS
        && is_printable_ascii(bytes)
    {
        return Ok(());
    }
    check_slowly(text)
}

#[cold]
fn check_slowly(text: &str) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    let chars = text.chars().count();
    if chars > MAX_KEY_CHARS {
        return Err(KeyError::TooLong { chars });
    }
    match text.char_indices().find(|(_, found)| found.is_control()) {
        Some((at, found)) => Err(KeyError::Control { found, at }),
        None if text.trim().is_empty() => Err(KeyError::Blank),
        None => Ok(()),
    }
}

/// Returns whether all bytes are from 0x20 to 0x7e. Eight bytes are compared at a time.
#[inline]
fn is_printable_ascii(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| found | outside(u64::from_le_bytes(*word)));
    // The last word overlaps the one before. A shorter text is padded.
    let last = match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(u64::from_le_bytes([b' '; 8]), |last, byte| last << 8 | u64::from(*byte)),
    };
    found | outside(last) == 0
}

/// Returns a word that is not 0 if one of the eight bytes is below 0x20 or above 0x7e.
#[inline]
const fn outside(word: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // Bytes above 0x7f have the top bit set. For the others, the top bit of the sums shows whether
    // they are in the range.
    let low = word & all(0x7f);
    (word | low.wrapping_add(all(1)) | !(low.wrapping_add(all(0x60)))) & all(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_only_1_to_256_characters_without_controls_are_a_key() {
        assert_eq!(check(""), Err(KeyError::Empty));
        assert_eq!(check(&"é".repeat(257)), Err(KeyError::TooLong { chars: 257 }));
        assert_eq!(check("a\nb"), Err(KeyError::Control { found: '\n', at: 1 }));
        assert_eq!(check("é\u{85}"), Err(KeyError::Control { found: '\u{85}', at: 2 }));
        assert_eq!(check("\u{7f}"), Err(KeyError::Control { found: '\u{7f}', at: 0 }));
        for blank in [" ", "   ", "\u{a0}\u{2003}"] {
            assert_eq!(check(blank), Err(KeyError::Blank));
        }
        for good in ["a", " a", "{user}:1 2", "ключ", "🦀", &"é".repeat(256), &"x".repeat(256)] {
            assert_eq!(check(good), Ok(()));
        }
    }

    /// Each byte is checked at each position.
    #[test]
    fn p12_a_control_character_is_found_at_any_place() {
        for length in 1..40_usize {
            for at in 0..length {
                for byte in 0..=0x7f_u8 {
                    let mut text = vec![b'k'; length];
                    text[at] = byte;
                    let text = String::from_utf8(text).unwrap();
                    let expected = !byte.is_ascii_control() && !text.trim().is_empty();
                    assert_eq!(check(&text).is_ok(), expected, "{text:?}");
                }
            }
        }
    }
}
