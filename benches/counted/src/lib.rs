//! The operations that all benchmarks measure, and hand-written guards to compare with.

#![expect(clippy::disallowed_methods, reason = "the alternatives read the clock themselves")]

mod lessor;
mod rivals;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use lessor::{LastOwner, Lessor};
pub use rivals::{HandDashMap, HandMutexMap};

/// The duration of a lease, for lessor and its alternatives.
pub const TTL: Duration = Duration::from_secs(300);

/// The result of the guarded work: 64 bytes as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Receipt {
    pub charge: u64,
    pub status: String,
    pub amount: u32,
}

impl Receipt {
    pub fn new(n: u64) -> Self {
        Self {
            charge: 10_000_000_000_000_000 + n % 1_000_000_000,
            status: "captured".to_owned(),
            amount: 129_990 + (n % 10) as u32,
        }
    }
}

/// The outcome of [`Guard::run`].
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The work was done by this call.
    Done,
    /// Another caller holds the key, for this remaining time.
    Refused(Duration),
    /// The work was done before, and this is its result.
    Replayed(Receipt),
}

/// Guards work by a key.
pub trait Guard: Send + Sync {
    fn name(&self) -> &'static str;

    /// Acquires `key`, and completes it with `receipt` if granted.
    fn run(&self, key: &str, receipt: &Receipt) -> Outcome;

    /// Acquires `key` and keeps holding it.
    fn hold(&self, key: &str);
}

/// Returns a key of the usual form: a word, a colon and a number, 24 characters.
pub fn key(thread: u64, n: u64) -> String {
    format!("invoice:{thread:04}:{n:011}")
}
