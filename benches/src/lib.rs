//! Benchmarks of lessor beside what people use instead: every workload is written once, in the test kit, for lessor and for all
//! of its rivals.

#![expect(clippy::disallowed_methods, reason = "the rivals keep time by themselves, and runs are timed")]

mod args;
#[cfg(test)]
mod check;
mod lessor;
mod log;
mod memory;
pub mod page;
mod redis;
pub mod results;
pub mod suite;
mod work;
