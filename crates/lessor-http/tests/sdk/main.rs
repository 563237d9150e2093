//! Tests of the HTTP API with the stock Python client of the hosted service, and with the command
//! lines of its reference, and with generated requests.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod child;
mod client;
mod generated;
mod python;
mod reference;
mod server;
mod store;
