//! What the steps of `cargo xtask test` are given, and what they answer.

use std::time::{Duration, Instant};

/// How a step ended.
pub(crate) enum End {
    Passed,
    /// With what was found, for the summary.
    PassedWith(String),
    /// Could not be run here, and why.
    Skipped(String),
}

/// How much a step is asked for: what cannot be had here is an error where it is, and skipped where it is not.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) by_name: bool,
    pub(crate) by_ci: bool,
}

impl Asked {
    /// Worth minutes of building a tool for.
    pub(crate) fn for_sure(self) -> bool {
        self.by_name || self.by_ci
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that a step takes is no lease time")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}
