//! The unsynced history of a file: versions of its sectors, and lengths.

use std::ops::Range;
use std::sync::Arc;

use crate::content::Sector;

/// The content of a sector after an unsynced write.
#[derive(Clone, Debug)]
pub struct Version {
    pub(crate) bytes: Arc<Sector>,
    pub(crate) time: u64,
    pub(crate) written: Range<usize>,
}

impl Version {
    /// Returns the time of the write. Times only increase; see
    /// [`Choice::as_of`](crate::Choice::as_of).
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Sector)) {
        change(Arc::make_mut(&mut self.bytes));
    }

    /// Returns the bytes of the sector that were written. Tears outside of them make no difference.
    #[must_use]
    pub fn written(&self) -> Range<usize> {
        self.written.clone()
    }
}

/// The length of a file after an unsynced write.
#[derive(Clone, Debug)]
pub struct Length {
    pub(crate) len: u64,
    pub(crate) time: u64,
    pub(crate) lost: bool,
}

impl Length {
    /// Returns the length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Returns the time of the write. Times only increase; see
    /// [`Choice::as_of`](crate::Choice::as_of).
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }
}
