//! The unsynced history of a file: versions of its sectors, and lengths.

use std::ops::Range;
use std::sync::Arc;

use crate::content::Sector;

/// What a sector became by a write that was not synced.
#[derive(Clone, Debug)]
pub struct Version {
    pub(crate) bytes: Arc<Sector>,
    pub(crate) time: u64,
    pub(crate) written: Range<usize>,
}

impl Version {
    /// When it was written. Times only grow; see [`Choice::as_of`].
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Sector)) {
        change(Arc::make_mut(&mut self.bytes));
    }

    /// Which bytes of the sector the write was about. A tear elsewhere makes no difference.
    #[must_use]
    pub fn written(&self) -> Range<usize> {
        self.written.clone()
    }
}

/// A length that a file reached by a write that was not synced.
#[derive(Clone, Debug)]
pub struct Length {
    pub(crate) len: u64,
    pub(crate) time: u64,
    pub(crate) lost: bool,
}

impl Length {
    /// The length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// When it was reached. Times only grow; see [`Choice::as_of`].
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }
}
