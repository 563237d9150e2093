//! Visits every state that a few callers of one key can reach, with late requests, lost replies,
//! crashes, purges, steps of the clock, operators and waiters.
//!
//! The rules are the library's function `lessor_core::rules::decide`, and the retry loop is its
//! `Cas`. The stores, the network, the clock and the waiters are models.
//!
//! ```sh
//! cargo test -p lessor-rules-model --release -- --nocapture
//! ```
//!
//! - `model.rs` lists the events, and `step.rs` performs them.
//! - `flight.rs` runs the retry loop with the responses of the store so far.
//! - `server.rs` is the store, and `waiting.rs` has the waiters of one engine.
//! - `table.rs` is a second copy of the contract's table, and `checks.rs` has the promises.
//! - `bugs.rs` has the faults that can be planted, and `tests/` the models.

#[cfg(test)]
mod bugs;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod config;
#[cfg(test)]
mod flight;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod model;
#[cfg(test)]
mod server;
#[cfg(test)]
mod state;
#[cfg(test)]
mod step;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod words;
