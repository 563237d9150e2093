//! A connection: the store's own socket for plain TCP, or the client library's connection
//! otherwise.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::Notifier;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, Pipeline, PushInfo, PushKind, RedisError, Value,
};
use tokio::runtime::Handle;

#[cfg(unix)]
use super::reply::Replies;
#[cfg(unix)]
use super::socket::{EnqueueError, Socket};
use super::wake::via_notifier;

/// The number of requests that the client library queues.
const LIBRARY_QUEUE: usize = 1024;

/// A connection that pipelines requests from any thread. Replies arrive in the order of the
/// requests. Clones share the connection, which is closed with the last of them.
#[derive(Clone)]
pub(crate) enum Connection {
    #[cfg(unix)]
    Socket(Arc<SocketHandle>),
    Library(MultiplexedConnection, Notifier),
}

#[cfg(unix)]
pub(crate) struct SocketHandle(Arc<Socket>);

#[cfg(unix)]
impl Drop for SocketHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(unix)]
            Self::Socket(_) => "Socket",
            Self::Library(..) => "Library",
        })
    }
}

impl Connection {
    /// Connects. The client library's connection is authenticated too.
    ///
    /// Tasks on `runtime` may read their own replies; other callers are woken by `notifier`.
    /// `on_push` receives push messages, and `on_disconnect` is called when the connection is
    /// closed, both on any thread.
    pub(crate) async fn connect(
        client: Client,
        timeout: Duration,
        runtime: Option<Handle>,
        notifier: Notifier,
        on_push: impl Fn(&PushInfo) + Send + Sync + 'static,
        on_disconnect: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        // Deadlines are implemented by the manager: a future that is polled on another executor
        // must not need a timer of this runtime.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(LIBRARY_QUEUE);
        #[cfg(unix)]
        if let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() {
            return Self::connect_socket((host, *port), runtime, notifier, on_push, on_disconnect).await;
        }
        let config = config.set_push_sender(move |push: PushInfo| {
            match push.kind {
                PushKind::Disconnection => on_disconnect(),
                _ => on_push(&push),
            }
            Ok::<(), std::convert::Infallible>(())
        });
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map(|library| Self::Library(library, notifier))
    }

    #[cfg(unix)]
    async fn connect_socket(
        address: (&str, u16),
        runtime: Option<Handle>,
        notifier: Notifier,
        on_push: impl Fn(&PushInfo) + Send + Sync + 'static,
        on_disconnect: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        let stream = tokio::net::TcpStream::connect(address).await?.into_std()?;
        let socket = Arc::new(Socket::new(stream, runtime, notifier, on_push, on_disconnect)?);
        tokio::spawn(Arc::clone(&socket).run());
        Ok(Self::Socket(Arc::new(SocketHandle(socket))))
    }

    /// Returns whether the connection is authenticated already.
    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(self, Self::Library(..))
    }

    /// Allows replies of any length from now on, because the server has been checked.
    pub(crate) fn lift_reply_limit(&self) {
        match self {
            #[cfg(unix)]
            Self::Socket(handle) => handle.0.lift_reply_limit(),
            Self::Library(..) => {}
        }
    }

    /// Returns whether the connection is known to be closed. If it is not, `on_disconnect` will be
    /// called when it closes.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Socket(handle) => handle.0.has_ended(),
            // The next request on it fails.
            Self::Library(..) => false,
        }
    }

    /// Sends commands in one batch, without requests of other callers in between. Returns the last
    /// reply. `on_send` is called before any byte may have been sent.
    pub(crate) async fn send(
        &mut self,
        commands: &[&Cmd],
        on_send: impl FnOnce(),
    ) -> Result<Value, RedisError> {
        match self {
            #[cfg(unix)]
            Self::Socket(handle) => handle.send(commands, false, on_send).await.map(|replies| replies.last),
            Self::Library(library, notifier) => {
                on_send();
                // Boxed, because it is rarely used and would enlarge the future of every call.
                Box::pin(via_notifier(notifier, async {
                    match commands {
                        [command] => library.send_packed_command(command).await,
                        _ => library.pipeline(commands).await.map(|mut all| all.pop().unwrap_or_default()),
                    }
                }))
                .await
            }
        }?
        .extract_error()
    }

    /// Sends commands in one batch and returns all replies, including error replies. `commands`
    /// must not be empty.
    pub(crate) async fn pipeline(
        &mut self,
        commands: &[&Cmd],
        on_send: impl FnOnce(),
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            #[cfg(unix)]
            Self::Socket(handle) => handle.send(commands, true, on_send).await.map(|replies| {
                let mut values = replies.earlier;
                values.push(replies.last);
                values
            }),
            Self::Library(library, notifier) => {
                on_send();
                Box::pin(via_notifier(notifier, library.pipeline(commands))).await
            }
        }
    }

    /// Sends commands in one batch and returns all replies, or the first error reply.
    pub(crate) async fn try_pipeline(
        &mut self,
        commands: &[&Cmd],
        on_send: impl FnOnce(),
    ) -> Result<Vec<Value>, RedisError> {
        self.pipeline(commands, on_send).await?.into_iter().map(Value::extract_error).collect()
    }
}

trait LibraryPipeline {
    async fn pipeline(&mut self, commands: &[&Cmd]) -> Result<Vec<Value>, RedisError>;
}

impl LibraryPipeline for MultiplexedConnection {
    async fn pipeline(&mut self, commands: &[&Cmd]) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(Cmd::clone(command));
        }
        self.send_packed_commands(&pipeline, 0, commands.len()).await
    }
}

#[cfg(unix)]
impl SocketHandle {
    async fn send(
        &self,
        commands: &[&Cmd],
        keeps_earlier: bool,
        on_send: impl FnOnce(),
    ) -> Result<Replies, RedisError> {
        let io_error = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        let pending = loop {
            let encode =
                |out: &mut Vec<u8>| commands.iter().for_each(|command| command.write_packed_command(out));
            match self.0.request(commands.len(), keeps_earlier, encode) {
                Ok(pending) => break pending,
                Err(EnqueueError::Disconnected(kind)) => return Err(io_error(kind)),
                Err(EnqueueError::Full) => Box::pin(self.0.wait_for_room()).await,
            }
        };
        on_send();
        pending.await.map_err(io_error)
    }
}
