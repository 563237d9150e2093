//! Linearizability of concurrent operations (P8).
//!
//! For each key, the checker searches for an order of the operations in which the
//! [`Model`](crate::model::Model) gives all the recorded answers, and in which no operation
//! precedes another that was answered before it was called. It is the search of Wing and Gong
//! (*Testing and verifying concurrent objects*, 1993), with memoisation (Lowe, *Testing for
//! linearizability*, 2017).

mod checker;
mod races;

pub use checker::{Event, MAX_OPERATIONS, Recorder, check};
pub use races::{Summary, check_races};
