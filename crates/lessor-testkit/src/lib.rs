//! The kit that proves a store of *lessor* correct.

mod clock;
mod subject;

pub use clock::ManualClock;
pub use subject::Subject;
