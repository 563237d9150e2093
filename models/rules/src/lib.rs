//! Visits every state that a few callers of one key can reach: requests that arrive late, lost replies, crashes, purges, steps of
//! the clock, operators, waiters.
//!
//! The rules are the library's own function `lessor_core::machine::decide`. The retry loop is the library's own file `drive.rs`,
//! compiled into this crate. The stores, the network, the clock and waiting are models.
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
#[allow(dead_code, reason = "the model uses the part of the file that answers to a store")]
#[path = "../../../crates/lessor-core/src/drive.rs"]
mod drive;

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

/// The modules that `drive.rs` imports from.
#[cfg(test)]
mod engine {
    pub(crate) use crate::flight::Shared;
}
#[cfg(test)]
mod error {
    pub(crate) use lessor_core::Error;
}
#[cfg(test)]
mod key {
    pub(crate) use lessor_core::Key;
}
#[cfg(test)]
mod pending {
    pub(crate) use lessor_core::Pending;
}
#[cfg(test)]
mod record {
    pub(crate) use lessor_core::Record;
}
#[cfg(test)]
mod store {
    pub(crate) use lessor_core::store::{Change, Reply, Seen, StoreError, Swap};
}
#[cfg(test)]
mod time {
    pub(crate) use lessor_core::Timestamp;
}
