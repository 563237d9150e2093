//! A test kit for applications and stores of *lessor*.
//!
//! # For applications
//!
//! [`crash_everywhere`] runs a guarded function against crashes, lost replies and takeovers at
//! every step, and says in one sentence when an effect was doubled or lost. [`CrashTest`] has
//! settings.
//!
//! # For authors of stores
//!
//! A store implements [`lessor_core::CompareAndSwap`] or [`lessor_core::Store`]. The kit tests
//! whether it keeps the contract.
//!
//! - [`conformance!`] generates a `#[test]` for each of about a hundred promises: those of the
//!   store itself, including races on real threads and unusual keys, and those of an engine over
//!   it.
//! - [`state_machine::check`] runs random sequences of commands through engines over the store, and
//!   compares every answer with a [`model`] of the lease rules that was written independently of
//!   the engine's. [`state_machine::check_with_lost_replies`] does the same while requests and
//!   replies are lost.
//! - [`history::check_races`] runs racing threads, and checks that their answers are linearizable.
//! - [`ManualClock`] stands still until a test advances it. [`Faults`] injects faults into a store.
//!   [`Jumps`] lets time pass between a decision and its write. A [`Layer`] modifies single calls
//!   of a store, and a [`SwapLayer`] those of a retry loop.
//!
//! ```
//! use std::sync::Arc;
//! use lessor_memory::MemoryStore;
//! use lessor_testkit::{ManualClock, Subject, conformance};
//!
//! fn memory() -> Subject {
//!     let clock = ManualClock::new();
//!     Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
//! }
//!
//! conformance!(memory);
//! # fn main() {}
//! ```
//!
//! A store whose clock cannot be controlled, such as that of a server, is a
//! [`Subject::on_real_clock`]. The kit then waits for time to pass. The few promises that need
//! exact times are skipped with a message.
//!
//! Environment variables control the extent of the tests:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `LESSOR_CASES` | sequences of commands against the model | 256 |
//! | `LESSOR_HISTORIES` | histories of racing threads | 100 |
//! | `LESSOR_PATIENCE` | seconds after which a wake-up counts as lost | 60 |

mod actor;
mod chronicle;
mod clock;
pub mod conformance;
mod crash;
mod environment;
pub mod faulty;
pub mod history;
mod jumping;
mod layer;
pub mod model;
mod plain;
mod retrying;
pub mod state_machine;
pub mod strategies;
mod subject;

pub use clock::ManualClock;
pub use crash::campaign::{CrashTest, crash_everywhere};
pub use crash::promise::Promise;
pub use crash::report::{CrashFailure, CrashReport};
pub use crash::sim::{EffectError, Sim};
pub use faulty::{Fault, Faults, Level};
pub use jumping::Jumps;
pub use layer::{Layer, Layered};
pub use retrying::{Retrying, SwapLayer, swap};
pub use subject::Subject;

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
