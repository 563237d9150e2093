//! Keys, which name pieces of work.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::key_text::{KeyError, MAX_KEY_CHARS, check};
use crate::data::namespace::{MAX_NAMESPACE_CHARS, check_stored, split};

/// The maximum length of the text under which a store keeps a key, in characters. The name of a
/// namespace and two marks may stand before the key.
pub const MAX_STORED_KEY_CHARS: usize = MAX_KEY_CHARS + MAX_NAMESPACE_CHARS + 2;

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

    /// Returns the key that a store has kept under `text`, which is the [`as_str`](Self::as_str) of
    /// a key. Unlike [`new`](Self::new), accepts the keys of namespaces.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if `text` is not the text of any key.
    pub fn from_stored(text: &str) -> Result<Self, KeyError> {
        check_stored(text)?;
        Ok(Self(Text::new(text)))
    }

    /// Returns a copy of `text`, which has been checked.
    pub(crate) fn checked(text: &str) -> Self {
        debug_assert!(check_stored(text).is_ok(), "an unchecked key");
        Self(Text::new(text))
    }

    /// Returns a text between keys, as the cursor of a scan.
    pub(crate) fn cursor(text: &str) -> Self {
        Self(Text::new(text))
    }

    /// Checks whether `text` is a valid key, without a copy.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is not.
    #[inline]
    pub fn check(text: &str) -> Result<(), KeyError> {
        check(text)
    }

    /// Returns the name of the piece of work: the text of the key, without its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        split(self.as_str()).1
    }

    /// Returns the namespace of the key. A key that [`new`](Self::new) has created has none: it
    /// belongs to the namespace of the engine that it is given to.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        split(self.as_str()).0
    }

    /// Returns the text under which stores keep the key. It begins with a control character if the
    /// key has a namespace, and has at most [`MAX_STORED_KEY_CHARS`] characters. See
    /// [`from_stored`](Self::from_stored).
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes are valid UTF-8.
            Text::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    /// Returns the bytes of [`as_str`](Self::as_str).
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
        match split(self) {
            (None, key) => fmt::Debug::fmt(key, f),
            (Some(namespace), key) => write!(f, "{key:?} of namespace {namespace:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

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
