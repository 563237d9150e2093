//! Tests of the HTTP API with the stock Python client of the hosted service, and with the command
//! lines of its reference.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod child;
mod client;
mod python;
mod reference;
mod server;
mod store;
