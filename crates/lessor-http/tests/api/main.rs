//! Tests of the HTTP API against its contract.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod headers;
mod scenarios;
mod server;
