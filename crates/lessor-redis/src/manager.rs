//! The connection that a store uses, re-established after failures, and the calls made on it.

mod calls;
pub(crate) mod connection_manager;
mod deadlines;
