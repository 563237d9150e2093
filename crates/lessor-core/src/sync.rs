//! Futures and wake-ups without an async runtime. Nothing in this folder knows about leases.

pub(crate) mod pending;
pub(crate) mod presence;
pub(crate) mod primitives;
pub(crate) mod signal;
pub(crate) mod wakers;
