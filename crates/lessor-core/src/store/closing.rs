//! The closing of an engine as its store sees it: the deadline, the progress and the result.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::data::time::Timestamp;

/// The result of closing an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// All leases that were dropped were given up at the store. The others lapse with their ttl.
    pub gave_up: bool,
    /// The store is closed, and has released what it held, such as its folder. Else it goes on closing in the background.
    pub released: bool,
    /// The store has done all of its housekeeping. Else the rest is left for when it is opened again.
    pub tidied: bool,
}

impl Closed {
    /// Returns whether every step was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gave_up && self.released && self.tidied
    }
}

/// A step of a closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseStep {
    /// Leases that were dropped are given up at the store.
    #[default]
    Leases,
    /// The store is being closed.
    Store,
    /// Everything is over.
    Over,
}

/// The progress of a closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseProgress {
    /// The current step.
    pub step: CloseStep,
    /// The part of it that is done, in the unit of `total`.
    pub done: u64,
    /// The approximate total: bytes of a file store that is being compacted. 0 if it is unknown.
    pub total: u64,
}

/// A view of how far a closing is. Made by [`Close::progress`](crate::Close::progress).
#[derive(Clone, Debug)]
pub struct CloseWatch(pub(crate) Report);

impl CloseWatch {
    /// Returns the current progress of the closing.
    #[must_use]
    pub fn get(&self) -> CloseProgress {
        self.0.get()
    }
}

/// The progress of a closing, shared by those that report it and those that read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report(Arc<Mutex<CloseProgress>>);

impl Report {
    pub(crate) fn get(&self) -> CloseProgress {
        *self.0.lock()
    }

    pub(crate) fn begin(&self, step: CloseStep) {
        *self.0.lock() = CloseProgress { step, done: 0, total: 0 };
    }
}

/// A request to close a store: see [`Store::close`](crate::Store::close).
#[derive(Clone, Debug)]
pub struct Closing {
    pub(crate) until: Timestamp,
    pub(crate) report: Report,
}

impl Closing {
    /// A closing that stops its housekeeping at `until`.
    #[must_use]
    pub fn until(until: Timestamp) -> Self {
        Self { until, report: Report::default() }
    }

    /// When the store's housekeeping has to end, in the store's time.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.until
    }

    /// Says how far the store's housekeeping is.
    pub fn report(&self, done: u64, total: u64) {
        *self.report.0.lock() = CloseProgress { step: CloseStep::Store, done, total };
    }

    /// The progress so far.
    #[must_use]
    pub fn progress(&self) -> CloseProgress {
        self.report.get()
    }
}
