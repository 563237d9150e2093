//! The loop that accepts connections.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use lessor_core::Engine;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::crowd::Crowd;
use crate::config::{Config, ConfigError};
use crate::service::router;

/// The pause after a connection could not be accepted, for example because the process has too many
/// open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The reason for which a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address of the listener is not known.
    #[error("the listener has no address")]
    Address(#[source] io::Error),
}

/// Returns the router for the connections of a listener.
pub(super) fn router_for(
    listener: &TcpListener,
    engine: &Engine,
    config: &Config,
) -> Result<Router, ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let mut config = config.clone();
    if !config.has_keys() {
        if !address.ip().is_loopback() {
            let reason = format!(
                "there is no key, which is allowed on a loopback address only, and {address} is none; add a key to a \
                 namespace, or listen on 127.0.0.1"
            );
            return Err(ConfigError::new("namespaces", reason).into());
        }
        config.any_key = true;
    }
    Ok(router(engine, &config)?)
}

/// Accepts connections until `shutdown` resolves. `prepare` returns the stream of a connection.
pub(super) async fn accept<S, F>(
    listener: TcpListener,
    router: Router,
    config: &Config,
    shutdown: impl Future<Output = ()>,
    prepare: impl Fn(TcpStream) -> F,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = Option<S>> + Send + 'static,
{
    let server = &config.server;
    let crowd = Crowd::new(server.max_connections);
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = crowd.enter() => place,
        };
        // Replies are small and are sent at once.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(router.clone(), place, draining.clone(), server.head_timeout);
        connections.spawn(connection.run(prepare(stream)));
    }
    drop(listener);
    drain.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(server.shutdown_timeout, finished).await.is_err() {
        tracing::warn!("requests were still under way at the end of the shutdown");
    }
}
