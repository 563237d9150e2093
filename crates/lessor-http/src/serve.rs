//! [`serve()`], the HTTP API as a server.

mod accept;
mod connection;
mod crowd;
mod plain;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub use accept::ServeError;
pub use plain::serve;
#[cfg(feature = "tls")]
pub use tls::{TlsError, serve_tls, tls_config};
