//! Keys: what names one piece of work.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest key, in characters.
pub const MAX_KEY_CHARS: usize = 256;

/// Names one piece of work: 1 to 256 characters, none of them a control character, and not only blanks. Cheap to clone.
///
/// Keys compare byte for byte; nothing is trimmed, folded or normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There was no character at all.
    #[error("key is empty; name the piece of work, for instance \"invoice:42\"")]
    Empty,
    /// Only blanks.
    #[error("key has only blanks; name the piece of work, for instance \"invoice:42\"")]
    Blank,
    /// More than 256 characters.
    #[error("key has {chars} characters; at most 256 are allowed, so hash what is longer")]
    #[non_exhaustive]
    TooLong {
        /// How many characters there were.
        chars: usize,
    },
    /// A control character, such as a line break.
    #[error("key has the control character {found:?} at byte {at}; remove or encode it")]
    #[non_exhaustive]
    Control {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

impl Key {
    /// Checks and copies `text`.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// Copies `text`, which has been checked.
    pub(crate) fn checked(text: &str) -> Self {
        debug_assert!(Self::check(text).is_ok(), "an unchecked key");
        Self(text.into())
    }

    /// Says whether `text` could be a key, without copying it.
    pub fn check(text: &str) -> Result<(), KeyError> {
        // Most keys are short printable ASCII: one pass over the bytes without branches, no decoding.
        let plain = |so_far, byte: &u8| so_far & (byte.wrapping_sub(0x20) < 0x5f);
        let begins = text.as_bytes().first().is_some_and(|first| *first != b' ');
        if begins && text.len() <= MAX_KEY_CHARS && text.as_bytes().iter().fold(true, plain) {
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

    /// The key as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
}
