//! The end of all writes, after a failure or for a close.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::StoreError;

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
    reason: String,
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
        let reason = self.failure.get().map_or("the log is closed", |failure| &failure.reason);
        Some(StoreError::Unavailable { reason: reason.to_owned() })
    }

    /// Returns the first failed write or sync. A closed log has none.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        let reason = self.failure.get()?.reason.clone();
        Some(StoreError::Unavailable { reason })
    }

    /// Returns the error for a write that was staged for frame `lsn` and not acknowledged. The
    /// write is indeterminate if the frame may be on the disk, and failed with `error` if it cannot
    /// be.
    pub(crate) fn unacknowledged(&self, lsn: u64, error: StoreError) -> StoreError {
        match self.failure.get() {
            Some(failure) if lsn <= failure.last_lsn => {
                StoreError::Indeterminate { reason: failure.reason.clone() }
            }
            _ => error,
        }
    }

    /// Records a failed write or sync, unless one is recorded already.
    pub(crate) fn fail(&self, last_lsn: u64, reason: String) {
        let _ = self.failure.set(Failure { last_lsn, reason });
        self.is_set.store(true, Ordering::Release);
    }

    /// Takes no more writes, without a failure.
    pub(crate) fn close(&self) {
        self.is_set.store(true, Ordering::Release);
    }
}
