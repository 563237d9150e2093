//! The kit that proves a store of *lessor* correct.

mod clock;
pub mod conformance;
mod plain;
mod subject;

pub use clock::ManualClock;
pub use subject::Subject;
