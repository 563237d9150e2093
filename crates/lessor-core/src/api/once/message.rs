//! [`Message`], an error that is stored as its text.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An error that consists of its text, for work whose own error cannot be stored.
///
/// The operator `?` converts every [`std::error::Error`] to it, with the texts of its sources. For
/// the same reason as with the error types of application libraries, it does not implement
/// `std::error::Error` itself.
///
/// ```
/// use lessor_core::Message;
///
/// fn parse(text: &str) -> Result<u32, Message> {
///     if text.is_empty() {
///         return Err(Message::new("there is no text"));
///     }
///     Ok(text.parse::<u32>()?)
/// }
///
/// assert_eq!(parse("").unwrap_err().to_string(), "there is no text");
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Message(String);

impl Message {
    /// Returns an error with this text, such as `Message::new("no funds")` or
    /// `result.map_err(Message::new)`.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<E: StdError> From<E> for Message {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let part = error.to_string();
            // Many errors show their source in their own text.
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            source = error.source();
        }
        Self(text)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
