//! One server: connecting to it, checking that it is suitable, estimating its clock and receiving
//! its invalidation messages.

pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod context;
pub(crate) mod inspect;
pub(crate) mod invalidation;
pub(crate) mod probe;
pub(crate) mod schedule;
pub(crate) mod server_info;
pub(crate) mod tracking;
