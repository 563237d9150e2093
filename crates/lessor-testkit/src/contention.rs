//! How a guard does when many callers want its keys: throughput and latency, measured the same way for lessor over any
//! store, for yours, and for whatever you compare it with.
//!
//! Anything that implements [`Guard`] can be measured; every [`Engine`](lessor_core::Engine) does. A [`Crowd`] says who calls, how
//! many at once and for how long; each of its methods is one workload.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use lessor_core::Engine;
//! use lessor_memory::MemoryStore;
//! use lessor_testkit::contention::{Crowd, Keys};
//!
//! let engine = Engine::new(Arc::new(MemoryStore::new()))?;
//! let crowd = Crowd::of_threads(4).length(Duration::from_millis(20));
//! // A hundred keys, a few of which are asked for most of the time: the first caller of each works, the others get its result.
//! let sample = crowd.on_keys(&Arc::new(engine), &Keys::zipf(100, 1.0));
//! println!("{sample}");
//! assert_eq!(sample.told.granted, 100);
//! # Ok::<(), lessor_core::Error>(())
//! ```
//!
//! # How it measures
//! - Callers wait for a common start, and begin their next operation when the last one is done. So a guard that is slow is asked less
//!   often, and its latencies say nothing of requests that arrive regardless.
//! - [`Sample::per_second`] counts all operations between the first caller's start and the last one's end.
//! - Latencies are of each operation, or of one in sixteen where they take less than 2 µs: looking at the clock takes as long as some.
//! - A guard that is seen to grant a key twice, or to replay another result than it was given, ends the measurement with a panic.
//! - What is prepared, such as leases to be taken over, is not measured. It runs on the thread that measures, so a guard that
//!   needs some runtime has to be measured within that.
//! - Each workload has keys of its own, and can be run once on a store that keeps what it knows; from then on within another
//!   [prefix](Crowd::within).
//! - One figure says little: take turns with what you compare with, several times, and look at ratios and medians.

mod crowd;
mod guard;
mod keys;
mod race;
mod sample;
#[cfg(test)]
mod tests;

pub use crowd::Crowd;
pub use guard::{Guard, Shown, Told};
pub use keys::Keys;
pub use race::{Callers, Task};
pub use sample::{Latency, Sample, Tally};
