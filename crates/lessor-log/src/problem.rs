//! What stands in the way of opening, reading or writing a log.

use std::io;

use lessor_core::StoreError;

use crate::vfs::Vfs;

/// Before it is known what it means for the one who asked.
#[derive(Debug)]
pub(crate) enum Problem {
    Io { place: String, doing: &'static str, error: io::Error },
    Corrupt { folder: String, file: String, offset: u64, reason: String },
    Incompatible { reason: String },
    Locked { place: String, holder: Option<u32> },
}

impl Problem {
    pub(crate) fn io(vfs: &dyn Vfs, file: &str, doing: &'static str, error: io::Error) -> Self {
        Self::Io { place: format!("{}/{file}", vfs.place()), doing, error }
    }

    pub(crate) fn corrupt(vfs: &dyn Vfs, file: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { folder: vfs.place(), file: file.to_owned(), offset, reason: reason.into() }
    }
}

/// No room left on the device, or none left to this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Io { place, doing, error } if is_full(&error) => {
                Self::Full { reason: format!("{doing} {place}: {error}; make room on the disk") }
            }
            Problem::Io { place, doing, error } => {
                Self::Unavailable { reason: format!("{doing} {place}: {error}") }
            }
            Problem::Corrupt { folder, file, offset, reason } => Self::Corrupt {
                place: format!("{folder}/{file}, byte {offset}"),
                reason: format!(
                    "{reason}; restore a backup, or see with `lessor-log verify` and `truncate` what can be saved"
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
