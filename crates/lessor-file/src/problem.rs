//! Errors of opening, reading and writing a log.

use std::io;

use lessor_core::{DecodeError, Error, Key, StoreError};
use rustix::io::Errno;

use lessor_vfs::Vfs;

/// An error before it is turned into a [`StoreError`].
#[derive(Debug)]
pub(crate) enum Problem {
    Io {
        place: String,
        doing: &'static str,
        error: io::Error,
    },
    /// The folder could not be synced. Names that were created before may be lost, and the next
    /// sync would not report that.
    Unnamed {
        place: String,
        error: io::Error,
    },
    Corrupt {
        folder: String,
        file: String,
        offset: u64,
        reason: String,
    },
    Incompatible {
        reason: String,
    },
    Locked {
        place: String,
        holder: Option<u32>,
    },
}

impl Problem {
    pub(crate) fn io(vfs: &dyn Vfs, file: &str, doing: &'static str, error: io::Error) -> Self {
        Self::Io { place: format!("{}/{file}", vfs.describe()), doing, error }
    }

    /// Creates the error of a failed sync of the folder.
    pub(crate) fn unnamed(vfs: &dyn Vfs, error: io::Error) -> Self {
        Self::Unnamed { place: vfs.describe(), error }
    }

    pub(crate) fn corrupt(vfs: &dyn Vfs, file: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { folder: vfs.describe(), file: file.to_owned(), offset, reason: reason.into() }
    }

    /// Of a record that a newer library wrote.
    pub(crate) fn incompatible(
        vfs: &dyn Vfs,
        file: &str,
        offset: u64,
        key: &Key,
        error: &DecodeError,
    ) -> Self {
        let place = format!("key {key:?} in {}/{file}, byte {offset}", vfs.describe());
        Self::Incompatible { reason: format!("{place} ({error})") }
    }
}

/// Returns whether the device is full, or the user's quota is exhausted.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns what has to be changed before the same call can succeed, or `None` if the error may pass
/// by itself.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("give the user of this process the right to read, write and create the folder and its files")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is mounted read-only; remount it writable, or use another folder")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            Some("the path must be a folder, and each file of a log a regular file")
        }
        io::ErrorKind::InvalidFilename => Some("use a shorter path"),
        io::ErrorKind::Unsupported => {
            Some("the file system lacks a feature that a log needs; use a folder on another one")
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Some("the path must not be a symbolic link")
        }
        _ => None,
    }
}

/// Returns the likely reason of an error that may pass by itself, and how to avoid it.
fn advice(error: &io::Error) -> Option<&'static str> {
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    match error.kind() {
        io::ErrorKind::OutOfMemory => Some("the system is out of memory"),
        _ if is(Errno::MFILE) => Some("this process has too many open files; raise its limit (`ulimit -n`)"),
        _ if is(Errno::NFILE) => Some("the system has too many open files"),
        _ if is(Errno::IO) => Some("the device reported an error; check it"),
        _ => None,
    }
}

/// Returns the error for a failed call to the operating system, which becomes its source.
pub(crate) fn from_io(failed: &str, error: io::Error) -> StoreError {
    let store_error = match (remedy(&error), advice(&error)) {
        _ if is_full(&error) => StoreError::full(format!("{failed}; free some space on the disk")),
        (Some(remedy), _) => StoreError::misconfigured(format!("{failed}; {remedy}")),
        (None, Some(advice)) => StoreError::unavailable(format!("{failed}: {advice}")),
        (None, None) => StoreError::unavailable(failed),
    };
    store_error.with_source(error)
}

/// Returns another error of the same kind and text, and with the same number if the operating system gave one.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Unnamed { place, error } => {
                Problem::Io { place, doing: "syncing the folder", error }.into()
            }
            Problem::Io { place, doing, error } => from_io(&format!("{doing} {place} failed"), error),
            Problem::Corrupt { folder, file, offset, reason } => Self::corrupt(
                format!("{folder}/{file}, byte {offset}"),
                format!(
                    "{reason}; restore a backup, or use `lessor verify` and `lessor truncate` to see what can be saved"
                ),
            ),
            Problem::Incompatible { reason } => Self::incompatible(reason),
            Problem::Locked { place, holder } => Self::unavailable(match holder {
                Some(pid) => format!(
                    "{place} is in use by process {pid}; only one at a time can open it: stop that process, or use the Redis store"
                ),
                None => format!("{place} is in use by another process; only one at a time can open it"),
            }),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        StoreError::from(problem).into()
    }
}

/// Returns the error of a log that is closed or being closed.
pub(crate) fn closed() -> StoreError {
    StoreError::unavailable("the log is closed")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use lessor_core::ErrorKind;

    use super::*;

    #[test]
    fn errors_that_a_retry_cannot_fix_are_misconfigured() {
        let problem = |error: io::Error| {
            Error::from(Problem::Io { place: "/x/lock".to_owned(), doing: "opening", error }).kind()
        };
        for errno in [
            Errno::ACCESS,
            Errno::PERM,
            Errno::ROFS,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::OPNOTSUPP,
            Errno::NOSYS,
        ] {
            assert_eq!(problem(errno.into()), ErrorKind::Misconfigured, "{errno}");
        }
        for errno in [Errno::IO, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::STALE] {
            assert_eq!(problem(errno.into()), ErrorKind::Unavailable, "{errno}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(problem(errno.into()), ErrorKind::Broken, "{errno}");
        }
    }

    #[test]
    fn the_error_of_the_operating_system_is_the_source_and_is_shown_once() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::IO, Errno::ACCESS, Errno::STALE] {
            let problem = Problem::Io { place: "/x/lock".to_owned(), doing: "opening", error: errno.into() };
            let error = Error::from(problem);
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.and_then(io::Error::raw_os_error), Some(errno.raw_os_error()), "{error:?}");
            let system = io::Error::from(errno).to_string();
            assert!(!error.to_string().contains(&system), "{error}");
            assert!(format!("{error:#}").ends_with(&system), "{error:#}");
        }
    }

    #[test]
    fn a_copy_of_an_error_has_its_kind_number_and_text() {
        for error in [io::Error::from(Errno::NOSPC), io::Error::new(io::ErrorKind::InvalidInput, "why")] {
            let copy = copy_of(&error);
            assert_eq!((copy.kind(), copy.raw_os_error()), (error.kind(), error.raw_os_error()));
            assert_eq!(copy.to_string(), error.to_string());
        }
    }
}
