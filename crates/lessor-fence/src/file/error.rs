//! The errors of a fence in a file.

use std::io;

use lessor_core::KeyError;
use lessor_vfs::Vfs;

use crate::stale::StaleToken;

/// The reason that a fence in a file did not accept a token, or was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The fence has seen a higher token. A newer holder has the key, so the caller has to stop its
    /// work.
    #[error(transparent)]
    Stale(#[from] StaleToken),
    /// The key is not one of lessor's: 1 to 256 characters, without control characters.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another process, or another value in this one, has the fence open.
    #[error("the fence in {folder} is in use{}; one process at a time can open it", by(*.process))]
    #[non_exhaustive]
    InUse {
        /// The folder of the fence.
        folder: String,
        /// The id of the process, if it is known.
        process: Option<u32>,
    },
    /// The folder has files, but no fence.
    #[error("{folder} has other files and no fence; use an empty folder or a new one")]
    #[non_exhaustive]
    Foreign {
        /// The folder.
        folder: String,
    },
    /// The operating system reported an error. If it concerned a write, nothing is known about the
    /// token of that call: it may count, and the effect did not run.
    #[error("{doing} {path} failed")]
    #[non_exhaustive]
    Io {
        /// The call that failed.
        doing: &'static str,
        /// The file or folder.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is damaged. Tokens may be missing, so the fence is not opened.
    #[error(
        "{path} is damaged at byte {offset}: {reason}; restore the file, or remove it once no former holder is left"
    )]
    #[non_exhaustive]
    Damaged {
        /// The file.
        path: String,
        /// The offset of the first line that is not understood, in bytes.
        offset: u64,
        /// The problem of the line.
        reason: &'static str,
    },
    /// A newer release wrote the file.
    #[error("{path} has format {found}, and this release reads format 1; use a newer release")]
    #[non_exhaustive]
    Incompatible {
        /// The file.
        path: String,
        /// The format of the file.
        found: u64,
    },
    /// An earlier write failed, so the fence answers no more. Drop it and open it again.
    #[error("{path} could not be written before; drop the fence and open it again")]
    #[non_exhaustive]
    Broken {
        /// The file.
        path: String,
    },
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" by process {process}"))
}

/// Returns the path of a file, or of the folder if `file` is empty.
pub(super) fn path(vfs: &dyn Vfs, file: &str) -> String {
    match file {
        "" => vfs.describe(),
        file => format!("{}/{file}", vfs.describe()),
    }
}

/// Returns the error of a failed call on a file, or on the folder if `file` is empty.
pub(super) fn failed(vfs: &dyn Vfs, doing: &'static str, file: &str, source: io::Error) -> FenceError {
    FenceError::Io { doing, path: path(vfs, file), source }
}
