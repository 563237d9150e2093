//! What was measured.

use std::fmt;
use std::time::Duration;

/// One run of one workload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// Operations of all callers together.
    pub per_second: f64,
    /// From the first caller's start to the last one's end.
    pub took: Duration,
    /// Of one operation.
    pub latency: Latency,
    /// What the operations came to.
    pub told: Tally,
}

/// How long operations took: the median and so on up to the longest.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub most: Duration,
}

/// How often what was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The work was the caller's, who then completed or extended it.
    pub granted: u64,
    /// Somebody else was at it.
    pub refused: u64,
    /// It had been done before.
    pub replayed: u64,
}

impl Tally {
    /// All operations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.granted + self.refused + self.replayed
    }

    pub(super) fn add(&mut self, other: Self) {
        self.granted += other.granted;
        self.refused += other.refused;
        self.replayed += other.replayed;
    }
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a rate is no count")]
    pub(super) fn of(told: Tally, laps: Vec<Duration>, took: Duration) -> Self {
        let per_second = told.total() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
        Self { per_second, took, latency: Latency::of(laps), told }
    }
}

impl Latency {
    pub(super) fn of(mut laps: Vec<Duration>) -> Self {
        laps.sort_unstable();
        // The least of them that so many took no longer than.
        let rank = |thousandth: usize| (laps.len() * thousandth).div_ceil(1000).saturating_sub(1);
        let at = |thousandth: usize| laps.get(rank(thousandth)).copied().unwrap_or_default();
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), most: at(1000) }
    }
}

/// One line.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_second, latency, told, .. } = self;
        let Latency { p50, p90, p99, p999, most } = latency;
        write!(
            f,
            "{per_second:.0} per second; p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, "
        )?;
        write!(
            f,
            "most {most:.1?}; {} granted, {} refused, {} replayed",
            told.granted, told.refused, told.replayed
        )
    }
}
