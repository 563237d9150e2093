//! The work that all benchmarks measure, and the guards that people write by hand.

#![expect(clippy::disallowed_methods, reason = "the rivals keep time by themselves")]

mod lessor;
mod rivals;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use lessor::{Lessor, Rest};
pub use rivals::{HandDashMap, HandMutexMap};

/// How long a lease lasts, here and at the rivals.
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

/// What an acquire came to.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// The work was done now.
    Done,
    /// Somebody holds the key for another so long.
    Refused(Duration),
    /// It had been done before.
    Replayed(Receipt),
}

/// Something that guards work by a key.
pub trait Guard: Send + Sync {
    fn name(&self) -> &'static str;

    /// Acquires `key` and, if granted, completes it with `receipt`.
    fn run(&self, key: &str, receipt: &Receipt) -> Told;

    /// Acquires `key` and keeps holding it.
    fn hold(&self, key: &str);
}

/// A key as applications have them: a word, a colon and a number, 24 characters.
pub fn key(thread: u64, n: u64) -> String {
    format!("invoice:{thread:04}:{n:011}")
}
