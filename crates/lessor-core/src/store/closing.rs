//! The deadline, the progress and the result of closing an engine and its store.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::data::time::Timestamp;

/// The result of closing an engine. See [`Engine::close`](crate::Engine::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// True if all dropped leases were abandoned at the store. The others lapse at the end of their
    /// ttl.
    pub gave_up: bool,
    /// True if the store is closed and has released its resources, such as its folder. If not, the
    /// closing continues in the background.
    pub released: bool,
    /// True if the store has completed its housekeeping. If not, the rest is done after the next
    /// opening.
    pub tidied: bool,
}

impl Closed {
    /// Returns whether every step was completed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gave_up && self.released && self.tidied
    }
}

/// A step of a closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseStep {
    /// Dropped leases are being abandoned at the store.
    #[default]
    Leases,
    /// The store is being closed.
    Store,
    /// The closing is complete.
    Over,
}

/// The progress of a closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseProgress {
    /// The current step.
    pub step: CloseStep,
    /// The completed part of the step, in the unit of `total`.
    pub done: u64,
    /// The approximate size of the step, such as the number of bytes in a compaction of a file
    /// store. 0 if it is unknown.
    pub total: u64,
}

/// Observes the progress of a closing. Created by [`Close::progress`](crate::Close::progress).
#[derive(Clone, Debug)]
pub struct CloseWatch(pub(crate) Report);

impl CloseWatch {
    /// Returns the current progress.
    #[must_use]
    pub fn get(&self) -> CloseProgress {
        self.0.get()
    }
}

/// The progress of a closing, shared by the reporting and the observing parties.
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

/// A request to close a store. See [`Store::close`](crate::Store::close).
#[derive(Clone, Debug)]
pub struct Closing {
    pub(crate) until: Timestamp,
    pub(crate) report: Report,
}

impl Closing {
    /// Returns a request whose housekeeping has to end at `until`, in the store's time.
    #[must_use]
    pub fn until(until: Timestamp) -> Self {
        Self { until, report: Report::default() }
    }

    /// Returns the time at which the store's housekeeping has to end, in the store's time.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.until
    }

    /// Reports the progress of the store's housekeeping, in a unit of the store's choice. A `total`
    /// of 0 means that the total is unknown.
    pub fn report(&self, done: u64, total: u64) {
        *self.report.0.lock() = CloseProgress { step: CloseStep::Store, done, total };
    }

    /// Returns the current progress.
    #[must_use]
    pub fn progress(&self) -> CloseProgress {
        self.report.get()
    }
}
