//! The reason for which a command ends without success.

use std::fmt;
use std::io;

use lessor::{Error, ErrorKind};

use crate::exit::Code;

/// An exit code, and the message for standard error.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    message: String,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Returns whether the reader of standard output has ended, which is no error.
    pub(crate) fn is_end_of_output(&self) -> bool {
        self.message.is_empty()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::Usage,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Lost => Code::Lost,
            ErrorKind::Finished => Code::Finished,
            ErrorKind::Busy => Code::Busy,
            ErrorKind::Unavailable | ErrorKind::Indeterminate => Code::Unavailable,
            ErrorKind::Misconfigured | ErrorKind::Broken => Code::Broken,
            _ => Code::Error,
        };
        Self::new(code, format!("{error:#}"))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::Done, "");
        }
        Self::new(Code::Error, error.to_string())
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
