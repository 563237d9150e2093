//! The result of a run.

use std::fmt;
use std::time::Duration;

/// The result of one run of one workload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// Operations per second of all callers together.
    pub per_second: f64,
    /// The time from the start of the first caller to the end of the last one.
    pub elapsed: Duration,
    /// The latency of one operation.
    pub latency: Latency,
    /// The number of replies of each kind.
    pub replies: ReplyCounts,
}

/// Percentiles of the latency, exact to one in a thousand.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are complete")]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub max: Duration,
}

/// The number of replies of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyCounts {
    /// Operations for which the caller held the lease.
    pub acquired: u64,
    /// Requests that were refused because another caller held the lease.
    pub in_progress: u64,
    /// Requests that were answered with the stored result.
    pub completed: u64,
}

impl ReplyCounts {
    /// Returns the number of all operations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.acquired + self.in_progress + self.completed
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.acquired += other.acquired;
        self.in_progress += other.in_progress;
        self.completed += other.completed;
    }
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    pub(crate) fn new(replies: ReplyCounts, latency: Latency, elapsed: Duration) -> Self {
        let per_second = replies.total() as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        Self { per_second, elapsed, latency, replies }
    }
}

/// Prints one line.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_second, latency, replies, .. } = self;
        let Latency { p50, p90, p99, p999, max } = latency;
        write!(
            f,
            "{per_second:.0} per second; p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, "
        )?;
        write!(
            f,
            "max {max:.1?}; {} acquired, {} in progress, {} completed",
            replies.acquired, replies.in_progress, replies.completed
        )
    }
}
