//! Tests the rules against the contract. `table` checks every cell of the contract's table,
//! `promises` checks single guarantees at their limits, and `walk` runs random sequences.

mod cases;
mod expect;
mod history;
pub(crate) mod plain;
mod promises;
mod redaction;
mod spec_table;
mod table;
pub(crate) mod walk;

pub(crate) use cases::forgotten;
