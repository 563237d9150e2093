//! The end of all writes, after a failure or for a close.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::{Cause, StoreError};

use crate::problem::closed;

/// Set by the first failed write or sync, and by a close. Nothing is written from then on.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    failure: OnceLock<Failure>,
    is_set: AtomicBool,
}

#[derive(Debug)]
struct Failure {
    /// The last frame that may be on the disk. FrameReader with higher LSNs were never written.
    last_lsn: u64,
    cause: Cause,
}

impl Poison {
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Returns why the log takes no more writes, if it takes none.
    pub(crate) fn error(&self) -> Option<StoreError> {
        if !self.is_set() {
            return None;
        }
        Some(self.failure().unwrap_or_else(closed))
    }

    /// Returns the first failed write or sync. A closed log has none.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        Some(StoreError::Unavailable(self.failure.get()?.cause.clone()))
    }

    /// Returns the error for a write that was staged for frame `lsn` and not acknowledged. The
    /// write is indeterminate if the frame may be on the disk, and failed with `error` if it cannot
    /// be.
    pub(crate) fn unacknowledged(&self, lsn: u64, error: StoreError) -> StoreError {
        match self.failure.get() {
            Some(failure) if lsn <= failure.last_lsn => StoreError::Indeterminate(failure.cause.clone()),
            _ => error,
        }
    }

    /// Records a failed write or sync, unless one is recorded already.
    pub(crate) fn fail(&self, last_lsn: u64, cause: Cause) {
        let _ = self.failure.set(Failure { last_lsn, cause });
        self.is_set.store(true, Ordering::Release);
    }

    /// Takes no more writes, without a failure.
    pub(crate) fn close(&self) {
        self.is_set.store(true, Ordering::Release);
    }
}
