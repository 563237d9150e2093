//! Visits every state that a few callers of one key can reach: requests that arrive late, lost replies, crashes, purges, steps of
//! the clock, operators, waiters.
//!
//! The rules are the library's own function `lessor_core::rules::decide`, and the retry loop is its `Cas`. The stores, the network,
//! the clock and waiting are models.
//!
//! ```sh
//! cargo test -p lessor-rules-model --release -- --nocapture
//! ```
//!
//! - `model.rs` lists the events; `step.rs` carries them out.
//! - `flight.rs` runs the retry loop on what the store has answered so far.
//! - `server.rs` is the store, `waiting.rs` the waiters of one engine.
//! - `table.rs` is the contract's table, written down a second time; `checks.rs` has the promises.
//! - `bugs.rs` has the faults that can be planted, `tests/` the models.

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
