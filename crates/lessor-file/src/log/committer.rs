//! The shared state of group commit.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::log::staging::Staging;

/// The frame that is being gathered, and how far frames are written and synced.
#[derive(Debug)]
pub(crate) struct Committer {
    staging: Mutex<Staging>,
    /// FrameReader up to this LSN are as durable as the settings promise, and their records may be
    /// shown.
    visible: AtomicU64,
    /// FrameReader up to this LSN are synced.
    synced: AtomicU64,
}

impl Committer {
    /// Creates the state of a log whose last frame has the LSN `end`.
    pub(crate) fn new(staging: Staging, end: u64) -> Self {
        Self { staging: Mutex::new(staging), visible: AtomicU64::new(end), synced: AtomicU64::new(end) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock()
    }

    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    pub(crate) fn set_visible(&self, lsn: u64) {
        self.visible.store(lsn, Ordering::Release);
    }

    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(crate) fn raise_synced(&self, lsn: u64) {
        self.synced.fetch_max(lsn, Ordering::Release);
    }
}
