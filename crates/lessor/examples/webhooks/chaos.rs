//! Injected failures. They depend only on the seed, the delivery and the attempt, so that a run can
//! be repeated independently of the scheduling of threads.

use std::time::Duration;

#[derive(Clone, Copy, Default)]
pub(crate) struct Chaos {
    pub(crate) panics: f64,
    pub(crate) errors: f64,
    pub(crate) stalls: f64,
    pub(crate) seed: u64,
}

/// The fate of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Work,
    Panic,
    Error,
    Stall,
}

impl Chaos {
    pub(crate) fn is_on(&self) -> bool {
        self.panics + self.errors + self.stalls > 0.0
    }

    pub(crate) fn fate(&self, id: &str, attempt: u32) -> Fate {
        let roll = share(mix(self.seed ^ mix(hash(id) ^ u64::from(attempt))));
        if roll < self.panics {
            Fate::Panic
        } else if roll < self.panics + self.errors {
            Fate::Error
        } else if roll < self.panics + self.errors + self.stalls {
            Fate::Stall
        } else {
            Fate::Work
        }
    }
}

/// Returns the duration of the work: 2 to 6 ms, so that concurrent callers meet.
pub(crate) fn effort(id: &str) -> Duration {
    Duration::from_micros(2_000 + mix(hash(id)) % 4_000)
}

/// FNV-1a.
fn hash(id: &str) -> u64 {
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of SplitMix64.
fn mix(seed: u64) -> u64 {
    let a = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

/// Returns a number from 0 (inclusive) to 1 (exclusive).
fn share(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
