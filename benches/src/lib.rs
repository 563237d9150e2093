//! Benchmarks of lessor beside its alternatives. Every workload is written once, in `lessor-contention`, for
//! lessor and for all of its rivals.

#![expect(clippy::disallowed_methods, reason = "the rivals keep time by themselves, and runs are timed")]
#![cfg_attr(
    not(feature = "all-stores"),
    allow(unused, reason = "the file log and Redis use more than the in-memory store")
)]

mod args;
#[cfg(test)]
mod check;
mod lessor;
#[cfg(feature = "all-stores")]
mod log;
mod memory;
pub mod page;
#[cfg(feature = "all-stores")]
mod redis;
pub mod results;
pub mod suite;
mod work;
