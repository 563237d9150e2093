//! The stored outcome of a command.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use lessor::View;
use serde::{Deserialize, Serialize};

use crate::run::output::Tail;

/// The outcome of a command: the result of the key if the exit code is 0, and otherwise the detail of
/// its failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) exit_code: u8,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

/// The end of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    content: Content,
    /// The number of bytes before the end that were not kept.
    pub(crate) dropped: u64,
}

/// Bytes in JSON: as text, or in base64 if they are not text or if that is shorter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl Ran {
    /// Returns the outcome of the command that a key has, if it has one.
    pub(crate) fn of(view: &View) -> Option<Self> {
        view.result().ok().or_else(|| view.failure().ok().flatten())
    }

    /// Prints what was kept of the outputs, each to the same output of this process.
    pub(crate) fn print(&self) -> io::Result<()> {
        io::stdout().write_all(&self.stdout.bytes())?;
        io::stderr().write_all(&self.stderr.bytes())
    }

    /// Returns the error code of a command that failed.
    pub(crate) fn error_code(&self) -> String {
        match self.exit_code {
            code @ 129..=192 => format!("exit {code} (signal {})", code - 128),
            code => format!("exit {code}"),
        }
    }
}

impl From<Tail> for Kept {
    fn from(tail: Tail) -> Self {
        let (bytes, dropped) = tail.into_parts();
        Self { content: Content::new(bytes), dropped }
    }
}

impl Kept {
    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.content {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Base64(text) => BASE64_STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if escaped(&text) <= text.len() / 20 => Self::Text(text),
            Ok(text) => Self::Base64(BASE64_STANDARD.encode(text)),
            Err(error) => Self::Base64(BASE64_STANDARD.encode(error.as_bytes())),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// Returns the number of characters that take six bytes in JSON.
fn escaped(text: &str) -> usize {
    text.bytes().filter(|byte| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\r' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_is_read_back_byte_by_byte_and_grows_by_a_bounded_part() {
        let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for bytes in [&b""[..], b"text \xc3\xa4\n", b"\xff\xfe", &[0; 10_000], &[b'"'; 10_000], &all] {
            let mut tail = Tail::new(10_000);
            tail.push(bytes);
            let json = serde_json::to_string(&Kept::from(tail)).unwrap();
            assert_eq!(serde_json::from_str::<Kept>(&json).unwrap().bytes(), bytes);
            assert!(json.len() <= bytes.len() * 2 + 100, "{} of {}", json.len(), bytes.len());
        }
    }
}
