//! Measures throughput and latency of a lease service while many callers compete for its keys.
//!
//! Every [`Engine`](lessor::Engine) can be measured, and everything else that implements
//! [`LeaseService`]. A [`Workload`] holds the number of callers and the length of a run; each of
//! its methods runs one kind of request and returns a [`Sample`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use lessor::{Engine, MemoryStore};
//! use lessor_contention::{Keys, Workload};
//!
//! let engine = Arc::new(Engine::new(Arc::new(MemoryStore::new()))?);
//! let workload = Workload::threads(4).duration(Duration::from_millis(20));
//! // A hundred keys, a few of which get most of the requests. The first caller of each key
//! // completes it, and later callers receive the result.
//! let sample = workload.requests(&engine, &Keys::zipf(100, 1.0));
//! println!("{sample}");
//! assert_eq!(sample.replies.acquired, 100);
//! # Ok::<(), lessor::Error>(())
//! ```
//!
//! # How a run is measured
//! - All callers start together. Each caller sends its next request when the previous one is
//!   answered, so a slow service receives fewer requests, and its latencies do not describe
//!   requests that arrive at a fixed rate.
//! - [`Sample::per_second`] counts all operations between the start of the first caller and the end
//!   of the last one.
//! - Latencies are recorded in a histogram with three significant digits. Every operation is timed
//!   if the median is at least 2 µs; otherwise one in sixteen is, because reading the clock takes
//!   about as long as such an operation.
//! - A service that grants a key twice, or replays a wrong result, ends the measurement with a
//!   panic.
//! - Preparation, such as acquiring the leases that are to be handed over, is not measured. It runs
//!   on the calling thread: a service that needs an async runtime has to be measured inside that
//!   runtime.
//! - Each workload uses its own keys, and runs once on a store that keeps its records. A further
//!   run needs another [prefix](Workload::key_prefix).
//! - A single figure is not reliable. Alternate the services under comparison, repeat the runs, and
//!   compare ratios and medians.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the system's clock and sleeps")]

mod callers;
mod keys;
mod recorder;
mod sample;
mod service;
#[cfg(test)]
mod tests;
mod workload;

pub use callers::{Callers, Task};
pub use keys::Keys;
pub use sample::{Latency, ReplyCounts, Sample};
pub use service::{Forget, LeaseService, Replayed, Reply};
pub use workload::Workload;

/// Compiles and runs the code of the page with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/benchmarking.md")]
struct Benchmarking;
