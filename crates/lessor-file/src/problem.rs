//! What stands in the way of opening, reading or writing a log.

use std::io;

use lessor_core::{Error, StoreError};
use rustix::io::Errno;

use lessor_vfs::Vfs;

/// Before it is known what it means for the one who asked.
#[derive(Debug)]
pub(crate) enum Problem {
    Io {
        place: String,
        doing: &'static str,
        error: io::Error,
    },
    /// The folder could not be synced: names that were given before may be lost, and the next sync would not report it.
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
        Self::Io { place: format!("{}/{file}", vfs.place()), doing, error }
    }

    /// Of a sync of the folder.
    pub(crate) fn unnamed(vfs: &dyn Vfs, error: io::Error) -> Self {
        Self::Unnamed { place: vfs.place(), error }
    }

    pub(crate) fn corrupt(vfs: &dyn Vfs, file: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { folder: vfs.place(), file: file.to_owned(), offset, reason: reason.into() }
    }
}

/// No room left on the device, or none left to this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What has to be changed before the same call can succeed. `None` if the error may pass by itself.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some(
            "give the user of this process the right to read and write the folder and the files in it, and to make them",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is mounted read-only; mount it to be written to, or choose another folder")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            Some("a folder has to be a folder, and each file of a log a regular file")
        }
        io::ErrorKind::InvalidFilename => Some("choose a shorter path"),
        io::ErrorKind::Unsupported => {
            Some("the file system does not support what a log needs; choose a folder on another one")
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Some("it must not be a symbolic link")
        }
        _ => None,
    }
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Unnamed { place, error } => {
                Problem::Io { place, doing: "syncing the folder", error }.into()
            }
            Problem::Io { place, doing, error } if is_full(&error) => {
                Self::Full { reason: format!("{doing} {place}: {error}; make room on the disk") }
            }
            Problem::Io { place, doing, error } => match remedy(&error) {
                Some(to_do) => Self::Misconfigured { reason: format!("{doing} {place}: {error}; {to_do}") },
                None => Self::Unavailable { reason: format!("{doing} {place}: {error}") },
            },
            Problem::Corrupt { folder, file, offset, reason } => Self::Corrupt {
                place: format!("{folder}/{file}, byte {offset}"),
                reason: format!(
                    "{reason}; restore a backup, or see with `lessor-file verify` and `truncate` what can be saved"
                ),
            },
            Problem::Incompatible { reason } => Self::Incompatible { reason },
            Problem::Locked { place, holder } => Self::Unavailable {
                reason: match holder {
                    Some(pid) => format!(
                        "{place} is opened by process {pid}; only one at a time may have it: stop that one, or share leases over Redis"
                    ),
                    None => format!("{place} is opened by another process; only one at a time may have it"),
                },
            },
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
    StoreError::Unavailable { reason: "the log is closed".to_owned() }
}

#[cfg(test)]
mod tests {
    use lessor_core::ErrorKind;

    use super::*;

    #[test]
    fn what_does_not_pass_by_itself_is_a_matter_of_configuration() {
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
}
