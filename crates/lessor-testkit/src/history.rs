//! Histories of operations at the same time, and whether they could have happened one after the other (P8).
//!
//! The checker searches, per key, for an order of the operations in which the [`Model`](crate::model::Model) gives every answer that
//! was given, and in which none comes before another that had been answered when it was called. It is the search of
//! Wing and Gong (*Testing and verifying concurrent objects*, 1993), remembering what was tried (Lowe, *Testing
//! for linearizability*, 2017).

mod checker;
mod races;

pub use checker::{Event, MOST, Recorder, check};
pub use races::{Tally, check_races};
