//! A connection: the store's own where it is plain TCP, else the client library's.

#[cfg(unix)]
mod line;
#[cfg(unix)]
mod reading;
#[cfg(unix)]
mod replies;
#[cfg(all(test, unix))]
mod tests;
#[cfg(unix)]
mod thread;
#[cfg(unix)]
mod waiting;

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

use crate::wake::shielded;

/// How many requests may wait to be written by the client library.
const PIPELINE: usize = 1024;

/// Requests are sent one behind the other, from any thread, and answers come in the same order. Clones are of one connection, which is closed
/// with the last of them.
#[derive(Clone)]
pub(crate) enum Wire {
    #[cfg(unix)]
    Own(Arc<Own>),
    Library(MultiplexedConnection, Notifier),
}

#[cfg(unix)]
pub(crate) struct Own(Arc<line::Line>);

#[cfg(unix)]
impl Drop for Own {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(unix)]
            Self::Own(_) => "Own",
            Self::Library(..) => "Library",
        })
    }
}

impl Wire {
    /// Connects, and logs in where the connection is the client library's. Tasks on `runtime` may wait for their answers there, others are woken by `notifier`. `hear` is told what the server says by itself, `lost` is called when the connection is closed, both from any thread.
    pub(crate) async fn connect(
        client: Client,
        patience: Duration,
        runtime: Option<Handle>,
        notifier: Notifier,
        hear: impl Fn(&PushInfo) + Send + Sync + 'static,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        // Deadlines are the store's own: a future that is polled elsewhere must not need a timer of this runtime.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        #[cfg(unix)]
        if let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() {
            return Self::connect_own((host, *port), runtime, notifier, hear, lost).await;
        }
        let config = config.set_push_sender(move |said: PushInfo| {
            match said.kind {
                PushKind::Disconnection => lost(),
                _ => hear(&said),
            }
            Ok::<(), std::convert::Infallible>(())
        });
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map(|library| Self::Library(library, notifier))
    }

    #[cfg(unix)]
    async fn connect_own(
        place: (&str, u16),
        runtime: Option<Handle>,
        notifier: Notifier,
        hear: impl Fn(&PushInfo) + Send + Sync + 'static,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, RedisError> {
        let socket = tokio::net::TcpStream::connect(place).await?.into_std()?;
        let line = Arc::new(line::Line::new(socket, runtime, notifier, hear, lost)?);
        tokio::spawn(Arc::clone(&line).drive());
        Ok(Self::Own(Arc::new(Own(line))))
    }

    /// Whether the client library has logged in already.
    pub(crate) fn is_logged_in(&self) -> bool {
        matches!(self, Self::Library(..))
    }

    /// What is behind it was looked at: from now on answers may be as large as a server can make them.
    pub(crate) fn trust(&self) {
        match self {
            #[cfg(unix)]
            Self::Own(own) => own.0.trust(),
            Self::Library(..) => {}
        }
    }

    /// Whether it is known to be closed. If it is not and `lost` was not called yet, `lost` will be.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Own(own) => own.0.is_over(),
            // What is sent on it finds out.
            Self::Library(..) => false,
        }
    }

    /// Sends commands one behind the other, with nothing of others in between, and brings the last answer. `sent` is called before anything
    /// may have been sent.
    pub(crate) async fn send(&mut self, commands: &[&Cmd], sent: impl FnOnce()) -> Result<Value, RedisError> {
        match self {
            #[cfg(unix)]
            Self::Own(own) => own.send(commands, false, sent).await.map(|answered| answered.last),
            Self::Library(library, notifier) => {
                sent();
                // It is seldom, and would make each call's future larger.
                Box::pin(shielded(notifier, async {
                    match commands {
                        [command] => library.send_packed_command(command).await,
                        _ => library.send_all(commands).await.map(|mut all| all.pop().unwrap_or_default()),
                    }
                }))
                .await
            }
        }?
        .extract_error()
    }

    /// The same, with all the answers, errors among them; there is at least one command.
    pub(crate) async fn send_all(
        &mut self,
        commands: &[&Cmd],
        sent: impl FnOnce(),
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            #[cfg(unix)]
            Self::Own(own) => own.send(commands, true, sent).await.map(|answered| {
                let mut values = answered.former;
                values.push(answered.last);
                values
            }),
            Self::Library(library, notifier) => {
                sent();
                Box::pin(shielded(notifier, library.send_all(commands))).await
            }
        }
    }

    /// The same, if none of the answers is an error.
    pub(crate) async fn send_each(
        &mut self,
        commands: &[&Cmd],
        sent: impl FnOnce(),
    ) -> Result<Vec<Value>, RedisError> {
        self.send_all(commands, sent).await?.into_iter().map(Value::extract_error).collect()
    }
}

trait SendAll {
    async fn send_all(&mut self, commands: &[&Cmd]) -> Result<Vec<Value>, RedisError>;
}

impl SendAll for MultiplexedConnection {
    async fn send_all(&mut self, commands: &[&Cmd]) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(Cmd::clone(command));
        }
        self.send_packed_commands(&pipeline, 0, commands.len()).await
    }
}

#[cfg(unix)]
impl Own {
    async fn send(
        &self,
        commands: &[&Cmd],
        keeps_former: bool,
        sent: impl FnOnce(),
    ) -> Result<waiting::Answered, RedisError> {
        let failed = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        let waiting = loop {
            let pack =
                |out: &mut Vec<u8>| commands.iter().for_each(|command| command.write_packed_command(out));
            match self.0.push(commands.len(), keeps_former, pack) {
                Ok(waiting) => break waiting,
                Err(line::Refusal::Over(kind)) => return Err(failed(kind)),
                Err(line::Refusal::Full) => Box::pin(self.0.room()).await,
            }
        };
        sent();
        waiting.await.map_err(failed)
    }
}
