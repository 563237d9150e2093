//! The arguments and results of the steps of `cargo xtask test`.

use std::time::{Duration, Instant};

/// The end of a step.
pub(crate) enum End {
    Passed,
    /// Passed, with a note for the summary.
    PassedWith(String),
    /// Could not be run on this machine, for this reason.
    Skipped(String),
}

/// The way in which a step was requested. A missing tool is an error if the step was named, and
/// skips it otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) by_name: bool,
    pub(crate) by_ci: bool,
}

impl Asked {
    /// Returns whether a tool should be built, which takes minutes.
    pub(crate) fn for_sure(self) -> bool {
        self.by_name || self.by_ci
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that a step takes is no lease time")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}
