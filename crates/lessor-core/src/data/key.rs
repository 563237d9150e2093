//! Keys, which name pieces of work.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The maximum length of a key, in characters.
pub const MAX_KEY_CHARS: usize = 256;

/// The name of a piece of work: 1 to 256 characters, without control characters, and not only
/// whitespace.
///
/// Keys are compared byte for byte, without trimming, case folding or normalization. A clone does
/// not allocate.
///
/// ```
/// use lessor_core::{Key, KeyError};
///
/// let key = Key::new("invoice:42")?;
/// assert_eq!(key.as_str(), "invoice:42");
/// assert_eq!(Key::new("  "), Err(KeyError::Blank));
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Text);

/// The text of a key. Short texts are stored inline, without an allocation.
#[derive(Clone)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<str>),
}

/// The number of bytes that are kept in place. A key takes 32 bytes with it.
const SHORT: usize = 30;

impl Text {
    #[inline]
    fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }
}

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

impl Key {
    /// Returns a copy of `text` as a key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if `text` is not a valid key.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        Self::check(text)?;
        Ok(Self(Text::new(text)))
    }

    /// Returns a copy of `text`, which has been checked.
    pub(crate) fn checked(text: &str) -> Self {
        debug_assert!(Self::check(text).is_ok(), "an unchecked key");
        Self(Text::new(text))
    }

    /// Checks whether `text` is a valid key, without a copy.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is not.
    #[inline]
    pub fn check(text: &str) -> Result<(), KeyError> {
        let bytes = text.as_bytes();
        // Most keys are short printable ASCII, which is detected without decoding.
        if bytes.first().is_some_and(|first| *first != b' ')
            && bytes.len() <= MAX_KEY_CHARS
            && is_printable_ascii(bytes)
        {
            return Ok(());
        }
        Self::check_slowly(text)
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

    /// Returns the text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes are valid UTF-8.
            Text::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    /// Returns the key's bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Text::Long(text) => text.as_bytes(),
        }
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    /// Hashes the key like a `str`, because it can be borrowed as a `str`.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
        state.write_u8(0xff);
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

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Key {
    type Error = KeyError;
    fn try_from(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.as_str().to_owned()
    }
}

impl Deref for Key {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn p12_only_1_to_256_characters_without_controls_are_a_key() {
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert_eq!(Key::new(&"é".repeat(257)), Err(KeyError::TooLong { chars: 257 }));
        assert_eq!(Key::new("a\nb"), Err(KeyError::Control { found: '\n', at: 1 }));
        assert_eq!(Key::new("é\u{85}"), Err(KeyError::Control { found: '\u{85}', at: 2 }));
        assert_eq!(Key::new("\u{7f}"), Err(KeyError::Control { found: '\u{7f}', at: 0 }));
        for blank in [" ", "   ", "\u{a0}\u{2003}"] {
            assert_eq!(Key::new(blank), Err(KeyError::Blank));
        }
        for good in ["a", " a", "{user}:1 2", "ключ", "🦀", &"é".repeat(256), &"x".repeat(256)] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
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
                    assert_eq!(Key::check(&text).is_ok(), expected, "{text:?}");
                }
            }
        }
    }

    /// Keys of up to 30 bytes are stored inline, and longer ones are not.
    #[test]
    fn short_and_long_keys_compare_and_hash_like_their_texts() {
        let texts: Vec<String> =
            (1..64).flat_map(|length| ["a", "b", "é"].map(|char| char.repeat(length))).collect();
        let hasher = foldhash::fast::RandomState::default();
        let std_hasher = std::hash::RandomState::new();
        for text in &texts {
            let key = Key::new(text).unwrap();
            assert_eq!(key.as_str(), text);
            assert_eq!(hasher.hash_one(&key), hasher.hash_one(text.as_str()));
            assert_eq!(std_hasher.hash_one(&key), std_hasher.hash_one(text.as_str()));
            for other in &texts {
                let other_key = Key::new(other).unwrap();
                assert_eq!(key.cmp(&other_key), text.cmp(other));
                assert_eq!(key == other_key, text == other);
            }
        }
        assert_eq!(size_of::<Key>(), 32);
    }
}
