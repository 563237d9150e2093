//! The kit that proves a store of *lessor* correct.

mod actor;
mod clock;
pub mod conformance;
pub mod faulty;
pub mod history;
pub mod model;
mod plain;
pub mod state_machine;
pub mod strategies;
mod subject;

pub use clock::ManualClock;
pub use faulty::{Fault, Faults, FaultyStore};
pub use subject::Subject;
