//! What a run of the suite found, as it is written down for others to read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Results {
    pub machine: Machine,
    /// How long the timed runs took together.
    pub seconds: u64,
    /// In the order in which they are to be shown.
    pub cases: Vec<Case>,
}

/// The kind of machine, not which one it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub system: String,
    /// Of the sources that were measured.
    pub version: String,
    /// As `2026-11-24`.
    pub date: String,
}

/// Contenders that did the same, in turns.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Case {
    /// Such as `fresh`; the same for all stores.
    pub workload: String,
    /// What these were asked to be: `memory`, `file` or `redis`.
    pub store: String,
    /// What tells this case from others of its workload and store, such as `appendfsync always`.
    pub setting: Option<String>,
    pub callers: Callers,
    /// What lessor is compared with: the best of these in each round.
    pub against: Vec<String>,
    /// Lessor's first.
    pub contenders: Vec<Contender>,
}

/// Who called, and how many at once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Callers {
    Threads(u64),
    Tasks(u64),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Contender {
    pub name: String,
    /// What the machine can do at most, which is no guard.
    pub is_floor: bool,
    /// One per round; none if it cannot do this, or could not.
    pub rounds: Vec<Sample>,
}

/// One run of one contender.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    pub per_second: f64,
    pub latency: Option<Latency>,
}

/// Of one operation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub most: Duration,
}
