//! The HTTP API of *lessor*: leases for programs in any language, over an [`Engine`].
//!
//! - [`router()`] returns the API for an application with axum.
//! - [`serve()`] serves it, with limits on connections and time, and a graceful shutdown.
//! - [`Config`] has the namespaces of callers, their keys, limits and quotas.
//!
//! No lease rule is in this crate. Each call becomes an operation of the engine.
//!
//! [`Engine`]: lessor_core::Engine

mod account;
mod body;
mod call;
mod check_lock;
mod config;
mod counters;
mod error;
mod json;
mod leases;
mod metrics;
mod namespaces;
mod openapi;
mod progress;
mod query;
mod resent;
mod routes;
mod serve;
mod service;
mod time;
mod wire;

pub use config::{ApiKey, Config, ConfigError, KeyHash, Namespace, Quotas, Server};
pub use serve::{ServeError, serve};
#[cfg(feature = "tls")]
pub use serve::{TlsError, serve_tls, tls_config};
pub use service::router;

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
