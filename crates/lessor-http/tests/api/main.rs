//! Tests of the HTTP API against its contract.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod headers;
mod limits;
mod openapi;
mod resent;
mod scenarios;
mod server;
mod sockets;
mod stores;
#[cfg(feature = "tls")]
mod tls;
mod waiting;
