//! Benchmarks of lessor and its alternatives. Every workload is implemented once, in
//! `lessor-contention`, for lessor and for all alternatives.

#![expect(
    clippy::disallowed_methods,
    reason = "the alternatives read the clock themselves, and runs are timed"
)]
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
