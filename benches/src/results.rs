//! The results of a run of the suite, in the form that is stored.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// The contender that all others are compared with.
pub const LESSOR: &str = "lessor";

/// The results of a whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Results {
    pub machine: Machine,
    /// The total time of the timed runs.
    pub seconds: u64,
    /// In the order in which they are presented.
    pub cases: Vec<Case>,
}

/// A description of the machine that does not identify it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub system: String,
    /// The commit of the sources that were measured.
    pub version: String,
    /// In the form `2026-11-24`.
    pub date: String,
}

/// Contenders that ran the same workload, in turns.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Case {
    /// An identifier such as `fresh`, the same for all stores.
    pub workload: String,
    /// A title such as `Fresh keys`.
    pub title: String,
    /// One sentence that describes one operation.
    pub note: String,
    /// The kind of store: `memory`, `file` or `redis`.
    pub store: String,
    /// Distinguishes this case from others with the same workload and store, such as
    /// `appendfsync always`.
    pub setting: Option<String>,
    pub callers: Callers,
    pub unit: Unit,
    /// The contenders that lessor is compared with: in each round, with the best of them.
    pub against: Vec<String>,
    /// The contenders, of which lessor is the first.
    pub contenders: Vec<Contender>,
}

/// The kind and the number of concurrent callers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Callers {
    Threads(u64),
    Tasks(u64),
}

/// The meaning of a sample's value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Operations per second. More is better.
    PerSecond,
    /// The duration in seconds. Less is better.
    Seconds,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Contender {
    pub name: String,
    /// True for a reference, which does part of the work and grants no leases.
    pub is_reference: bool,
    /// One sentence that a reader needs for the comparison, or the reason that there are no rounds.
    pub note: Option<String>,
    /// One sample per round, or none if the contender cannot run the workload.
    pub rounds: Vec<Sample>,
}

/// One run of one contender.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// In the unit of the case. Values that are not finite numbers are ignored.
    #[serde(deserialize_with = "number_or_null")]
    pub value: f64,
    pub latency: Option<Latency>,
}

/// Latencies of single operations. Stored in seconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    #[serde(with = "seconds")]
    pub p50: Duration,
    #[serde(with = "seconds")]
    pub p90: Duration,
    #[serde(with = "seconds")]
    pub p99: Duration,
    #[serde(with = "seconds")]
    pub p999: Duration,
    #[serde(with = "seconds")]
    pub most: Duration,
}

/// The median and the extremes of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Case {
    pub fn contender(&self, name: &str) -> Option<&Contender> {
        self.contenders.iter().find(|contender| contender.name == name)
    }

    /// Returns the ratio of lessor to the best of `against` in each round. Above 1 lessor is
    /// better, whatever the unit. `None` if no round has both.
    pub fn ratio(&self) -> Option<Spread> {
        self.ratio_to(|contender| self.against.contains(&contender.name))
    }

    /// Returns the same ratio to the reference.
    pub fn ratio_to_reference(&self) -> Option<Spread> {
        self.ratio_to(|contender| contender.is_reference)
    }

    /// Returns the best of `against` by its median.
    pub fn rival(&self) -> Option<&Contender> {
        let rivals = self.contenders.iter().filter(|contender| self.against.contains(&contender.name));
        let medians = rivals.filter_map(|rival| Some((rival, self.unit.goodness(rival.spread()?.median))));
        medians.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(rival, _)| rival)
    }

    fn ratio_to(&self, is_measure: impl Fn(&Contender) -> bool) -> Option<Spread> {
        let goodness = |sample: &Sample| self.unit.goodness(sample.value);
        let best = |round: usize| {
            let measure = self.contenders.iter().filter(|contender| is_measure(contender));
            let samples = measure.filter_map(|contender| contender.rounds.get(round));
            samples.map(goodness).filter(|value| value.is_finite()).max_by(f64::total_cmp)
        };
        let rounds = self.contender(LESSOR)?.rounds.iter().enumerate();
        Spread::of(rounds.filter_map(|(round, sample)| Some(goodness(sample) / best(round)?)))
    }
}

impl Contender {
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|sample| sample.value))
    }

    /// Returns the median of each percentile over the rounds that have latencies.
    pub fn latency(&self) -> Option<Latency> {
        let median = |which: fn(Latency) -> Duration| {
            let all = self.rounds.iter().filter_map(|sample| sample.latency);
            let spread = Spread::of(all.map(|latency| which(latency).as_secs_f64()))?;
            Duration::try_from_secs_f64(spread.median).ok()
        };
        Some(Latency {
            p50: median(|latency| latency.p50)?,
            p90: median(|latency| latency.p90)?,
            p99: median(|latency| latency.p99)?,
            p999: median(|latency| latency.p999)?,
            most: median(|latency| latency.most)?,
        })
    }
}

impl Callers {
    pub fn count(self) -> u64 {
        match self {
            Self::Threads(count) | Self::Tasks(count) => count,
        }
    }
}

impl Unit {
    /// Returns a number that is greater the better `value` is.
    fn goodness(self, value: f64) -> f64 {
        match self {
            Self::PerSecond => value,
            Self::Seconds => 1.0 / value,
        }
    }
}

impl Spread {
    /// Ignores values that cannot be measurements, such as that of a run in which nothing was done.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.filter(|value| value.is_finite() && *value >= 0.0).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }
}

/// JSON cannot represent numbers that are not finite, and `serde_json` writes null for them.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(Error::custom)
    }
}
