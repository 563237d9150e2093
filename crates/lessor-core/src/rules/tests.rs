//! The machine against the contract: `table` walks every cell of the contract's table, `promises` shows single promises
//! at their edges, `walk` runs arbitrary sequences.

mod cases;
mod expect;
pub(crate) mod plain;
mod promises;
mod redaction;
mod spec_table;
mod table;
pub(crate) mod walk;

pub(crate) use cases::forgotten;
