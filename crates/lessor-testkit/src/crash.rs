//! A crash kit: runs a guarded function against crashes, lost replies and takeovers at every step.
//!
//! ```text
//! campaign.rs   the scenarios of a test, one after another
//! scenario.rs   runs the workers of one scenario, step by step
//! judge.rs      compares the effects of a scenario with those without a fault
//! promise.rs    what a test demands
//! report.rs     the result, and its sentence
//! sim.rs        what the function under test sees
//! process.rs    one simulated process, whose thread stops at each step; its store
//! world.rs      what survives a process: the store, the clock and the effects
//! step.rs       steps and faults
//! ```

pub(crate) mod campaign;
mod judge;
mod process;
pub(crate) mod promise;
pub(crate) mod report;
mod scenario;
pub(crate) mod sim;
mod step;
mod world;
