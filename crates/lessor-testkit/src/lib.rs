//! The kit that proves a store of *lessor* correct. For authors of stores.
//!
//! Write the store against [`lessor_core::Store`], then let the kit tell whether it keeps its contract:
//!
//! - [`conformance!`] makes a `#[test]` of each of about a hundred promises: of the store by itself, with races on real
//!   threads and hostile keys, and of the engine over it.
//! - [`state_machine::check`] drives engines over the store with random sequences of commands, and compares every
//!   answer with a [`model`] of the lease rules that was written independently of the engine's.
//!   [`state_machine::check_with_lost_replies`] does so while requests and replies are lost.
//! - [`history::check_races`] has real threads race, and checks that what they were told could have happened one after
//!   the other.
//! - [`ManualClock`] stands still until a test moves it. With [`Faults`] a store fails as stores do. With [`Jumps`] time passes
//!   between a decision and its write. A [`Layer`] changes single calls of a store, a
//!   [`SwapLayer`] those of a retry loop.
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
//! A store whose clock cannot be set, such as a server's, is a [`Subject::on_real_clock`]: time is then waited for, and the few
//! promises that need exact instants are skipped, saying so.
//!
//! How much is tried is up to the environment:
//!
//! | variable | what | default |
//! |---|---|---|
//! | `LESSOR_CASES` | sequences of commands against the model | 256 |
//! | `LESSOR_HISTORIES` | histories of racing threads | 100 |
//! | `LESSOR_PATIENCE` | seconds after which a wake-up counts as lost | 60 |

mod actor;
mod clock;
pub mod conformance;
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
pub use faulty::{Fault, Faults, Level};
pub use jumping::Jumps;
pub use layer::{Layer, Layered};
pub use retrying::{Retrying, SwapLayer, swap};
pub use subject::Subject;
