//! The Redis store while its server is killed, hangs, loses its scripts, is full, or is replaced.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

mod hangs;
mod kills;
mod replaced;
mod replies;
mod unwilling;

#[path = "../support/records.rs"]
mod records;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tap.rs"]
mod tap;
#[path = "../support/tools.rs"]
mod tools;

const HOUR: Duration = Duration::from_secs(3600);
