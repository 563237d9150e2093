//! [`serve`], without TLS.

use std::future::Future;

use lessor_core::Engine;
use tokio::net::TcpListener;

use super::accept::{ServeError, accept, router_for};
use crate::config::Config;

/// Serves the HTTP API over an engine until `shutdown` resolves. Then no connection is accepted any
/// more, and the requests under way are answered, for at most
/// [`Server::shutdown_timeout`](field@crate::Server::shutdown_timeout).
///
/// A client that sends slowly or not at all is disconnected after
/// [`Server::head_timeout`](field@crate::Server::head_timeout), and one that does not read its reply
/// as well. When there are [`Server::max_connections`](field@crate::Server::max_connections), an idle
/// connection is closed for each new one.
///
/// If no namespace has a key, any key is taken for the namespace `default`. That is allowed on a
/// loopback address only.
///
/// # Errors
///
/// [`ServeError::Config`] if a setting is out of its range, or if there is no key and the address is
/// not a loopback address.
///
/// # Cancellation safety
///
/// Dropping the future closes all connections immediately.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::Engine;
/// use lessor_http::{Config, serve};
/// use lessor_memory::MemoryStore;
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let shutdown = async { /* for example `tokio::signal::ctrl_c().await` */ };
/// serve(listener, &engine, &Config::new(), shutdown).await?;
/// # Ok(())
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    engine: &Engine,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let router = router_for(&listener, engine, config)?;
    accept(listener, router, config, shutdown, async |stream| Some(stream)).await;
    Ok(())
}
