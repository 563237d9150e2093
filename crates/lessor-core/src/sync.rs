//! Futures and wake-ups without a runtime. This layer knows nothing about leases.

pub(crate) mod pending;
pub(crate) mod presence;
pub(crate) mod primitives;
pub(crate) mod signal;
pub(crate) mod wakers;
