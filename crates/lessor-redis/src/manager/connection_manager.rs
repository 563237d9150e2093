//! The connection manager: keeps the store's connection on a background thread.
//!
//! The thread connects, checks the server, samples its clock, and connects again when the
//! connection is lost. Callers send requests from any thread or executor. All of them share one
//! connection, on which requests are pipelined. No request is ever sent twice.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;

use event_listener::Event;
use futures_lite::future;
use lessor_core::store::mark_own_thread;
use lessor_core::{Cause, Error, StoreError};
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::deadlines::Deadlines;
use crate::cluster::router::Cluster;
use crate::node::clock::SINGLE_SERVER;
use crate::node::connect::connect;
use crate::node::context::ConnectionContext;
use crate::node::inspect::{check_setup, inspect, sample_clock};
use crate::node::probe::probe;
use crate::node::schedule::{BACKOFF, CHECK_EVERY, SAMPLE_EVERY};
use crate::node::tracking::enable_tracking;
use crate::protocol::errors::{Effect, cause_of, classify, client_cause, timed_out};
use crate::transport::connection::Connection;
use crate::transport::wake::via_notifier;

/// The way from the store to its server.
#[derive(Clone)]
pub(super) enum Route {
    Single(Connection),
    Cluster(Arc<Cluster>),
}

/// A route that can be used at the moment.
#[derive(Clone)]
pub(super) struct ActiveRoute {
    pub(super) route: Route,
    /// Identifies the connection, so that a late failure does not drop a newer one.
    pub(super) generation: u64,
    /// True if the server reports changes to keys that were read.
    pub(super) tracking: bool,
}

enum State {
    Up(ActiveRoute),
    Down(DownReason),
    Closed,
}

/// The reason why there is no connection.
#[derive(Clone)]
pub(super) struct DownReason {
    pub(super) cause: Cause,
    /// True if connecting fails until the configuration is changed.
    pub(super) is_permanent: bool,
}

impl DownReason {
    pub(super) fn transient(cause: Cause) -> Self {
        Self { cause, is_permanent: false }
    }

    fn of(error: StoreError) -> Self {
        match error {
            StoreError::Misconfigured(cause) => Self { cause, is_permanent: true },
            StoreError::Unavailable(cause) => Self::transient(cause),
            other => Self::transient(cause_of(&other)),
        }
    }
}

pub(crate) struct ConnectionManager {
    pub(crate) context: Arc<ConnectionContext>,
    /// The id of the process that runs the background thread.
    process: u32,
    pub(super) deadlines: Deadlines,
    state: RwLock<State>,
    /// Notified when the state changes.
    changed: Event,
    /// Notified when the connection is lost, or when the store is closed.
    reconnect: Notify,
}

impl ConnectionManager {
    /// Connects, and starts the background thread that keeps the connection.
    ///
    /// Fails if there is no connection before the deadline.
    pub(crate) fn open(context: ConnectionContext) -> Result<Arc<Self>, Error> {
        let manager = Arc::new(Self {
            process: std::process::id(),
            deadlines: Deadlines::new(context.notifier.clone()),
            context: Arc::new(context),
            state: RwLock::new(State::Down(DownReason::transient(Cause::new("not connected yet")))),
            changed: Event::new(),
            reconnect: Notify::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(not_started)?;
        let (sender, first) = mpsc::channel();
        let thread = std::thread::Builder::new().name("lessor-redis".to_owned());
        let background = Arc::clone(&manager);
        let run = move || {
            mark_own_thread();
            runtime.block_on(future::or(background.maintain(sender), background.watch_deadlines()));
        };
        thread.spawn(run).map_err(not_started)?;
        match first.recv() {
            Ok(Ok(())) => Ok(manager),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Thread(Cause::new("the background thread of the store has ended"))),
        }
    }

    /// Returns an error in a forked child: the background thread does not exist there, and locks
    /// may stay locked for ever.
    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        check_process(self.process)
    }

    async fn watch_deadlines(&self) {
        self.deadlines.watch(|| self.context.clock.local()).await;
    }

    /// Keeps the connection until the store is closed. `first` receives the outcome of the first
    /// attempt.
    async fn maintain(self: &Arc<Self>, first: mpsc::Sender<Result<(), StoreError>>) {
        let mut first = Some(first);
        let mut backoff = BACKOFF.0;
        while !self.is_closed() {
            let connected = future::or(self.connect(), async {
                tokio::time::sleep(self.context.settings.deadline).await;
                let endpoint = &self.context.address.endpoint;
                Err(timed_out(endpoint))
            });
            match connected.await {
                Ok(()) => {
                    backoff = BACKOFF.0;
                    first.take().map(|first| first.send(Ok(())));
                    match self.cluster() {
                        Some(cluster) => cluster.maintain_map().await,
                        None => self.monitor().await,
                    }
                }
                Err(error) => {
                    if let Some(first) = first.take() {
                        self.close();
                        let _ = first.send(Err(error));
                        return;
                    }
                    tracing::warn!(
                        error = format_args!("{error:#}"),
                        "connecting to the server failed; trying again"
                    );
                    self.disconnect(None, DownReason::of(error));
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Connects, checks the server, and publishes the connection to callers.
    async fn connect(self: &Arc<Self>) -> Result<(), StoreError> {
        let generation = self.context.next_generation();
        let active = if self.context.address.is_cluster {
            let route = Route::Cluster(Cluster::open(&self.context).await?);
            ActiveRoute { route, generation, tracking: true }
        } else {
            self.connect_to_server(generation).await?
        };
        let single = match &active.route {
            Route::Single(connection) => Some(connection.clone()),
            Route::Cluster(_) => None,
        };
        let mut state = self.state.write();
        if !matches!(*state, State::Closed) {
            *state = State::Up(active);
        }
        drop(state);
        // The connection may have been closed before it was published.
        if single.is_some_and(|connection| connection.has_ended()) {
            self.disconnect(Some(generation), DownReason::transient(Cause::new("the connection was closed")));
        }
        self.changed.notify(usize::MAX);
        // Changes made while there was no connection were not reported.
        self.context.invalidation.engines.notify_all();
        Ok(())
    }

    async fn connect_to_server(self: &Arc<Self>, generation: u64) -> Result<ActiveRoute, StoreError> {
        let context = &*self.context;
        let endpoint = &context.address.endpoint;
        let no_server = || StoreError::unavailable("the URL names no server");
        let node = context.address.nodes.first().cloned().ok_or_else(no_server)?;
        let manager = Arc::downgrade(self);
        let on_disconnect = move || {
            if let Some(manager) = manager.upgrade() {
                manager.disconnect(
                    Some(generation),
                    DownReason::transient(Cause::new("the connection was closed")),
                );
            }
        };
        let mut connection = connect(context, node, endpoint, on_disconnect).await?;
        let server = inspect(context, endpoint, &mut connection).await?;
        let previous = context.server();
        check_setup(&context.settings, endpoint, &server, previous.as_ref())?;
        let sample = sample_clock(&context.clock, SINGLE_SERVER, &mut connection).await;
        sample
            .map_err(|error| classify(&error, context.request_info(endpoint, "TIME"), Effect::Read).error)?;
        probe(context, endpoint, &mut connection, |_| true).await?;
        connection.lift_reply_limit();
        let tracking = enable_tracking(endpoint, &mut connection).await;
        let is_replacement = previous.is_some_and(|previous| previous.run_id != server.run_id);
        context.on_server(endpoint, server, is_replacement);
        Ok(ActiveRoute { route: Route::Single(connection), generation, tracking })
    }

    pub(super) fn cluster(&self) -> Option<Arc<Cluster>> {
        match &*self.state.read() {
            State::Up(ActiveRoute { route: Route::Cluster(cluster), .. }) => Some(Arc::clone(cluster)),
            _ => None,
        }
    }

    /// Samples the server's clock and checks the server at intervals, until the connection is lost.
    async fn monitor(&self) {
        let context = &*self.context;
        let endpoint = &context.address.endpoint;
        for round in 1_u32.. {
            let is_reconnect = async {
                self.reconnect.notified().await;
                true
            };
            let is_due = async {
                tokio::time::sleep(SAMPLE_EVERY).await;
                false
            };
            let is_reconnect = future::or(is_reconnect, is_due).await;
            let active = match &*self.state.read() {
                State::Up(active) => active.clone(),
                _ => return,
            };
            let Route::Single(mut connection) = active.route else { return };
            if is_reconnect {
                continue;
            }
            let work = async {
                let sample = sample_clock(&context.clock, SINGLE_SERVER, &mut connection).await;
                sample.map_err(|error| {
                    let failed = format_args!("the connection to {endpoint} failed");
                    DownReason::transient(client_cause(failed, &error))
                })?;
                if round % CHECK_EVERY == 0 { self.check_again(&mut connection).await } else { Ok(()) }
            };
            let timeout = async {
                tokio::time::sleep(context.settings.deadline).await;
                Err(DownReason::of(timed_out(endpoint)))
            };
            if let Err(reason) = future::or(work, timeout).await {
                self.disconnect(Some(active.generation), reason);
                return;
            }
        }
    }

    /// Checks the server again, because its configuration may have changed.
    async fn check_again(&self, connection: &mut Connection) -> Result<(), DownReason> {
        let context = &*self.context;
        let endpoint = &context.address.endpoint;
        let server = inspect(context, endpoint, connection).await.map_err(DownReason::of)?;
        let previous = context.server();
        if previous.as_ref() == Some(&server) {
            return Ok(());
        }
        let checked = check_setup(&context.settings, endpoint, &server, previous.as_ref());
        context.set_server(server);
        checked.map_err(DownReason::of)
    }

    /// Drops the connection of this generation, or the current one if `generation` is `None`.
    pub(super) fn disconnect(&self, generation: Option<u64>, reason: DownReason) {
        let mut state = self.state.write();
        let is_meant = match &*state {
            State::Up(active) => generation.is_none_or(|generation| generation == active.generation),
            State::Down(_) => generation.is_none(),
            State::Closed => false,
        };
        if is_meant {
            *state = State::Down(reason);
            drop(state);
            self.reconnect.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        let cluster = self.cluster();
        *self.state.write() = State::Closed;
        if let Some(cluster) = cluster {
            cluster.close();
        }
        self.changed.notify(usize::MAX);
        self.reconnect.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.state.read(), State::Closed)
    }

    /// Returns the active route, or the reason why there is none; `Err(None)` if the store is
    /// closed.
    pub(super) fn current(&self) -> Result<ActiveRoute, Option<DownReason>> {
        match &*self.state.read() {
            State::Up(active) => Ok(active.clone()),
            State::Down(reason) => Err(Some(reason.clone())),
            State::Closed => Err(None),
        }
    }

    /// Waits for a route.
    pub(super) async fn wait_for_route(&self) -> Result<ActiveRoute, StoreError> {
        loop {
            let changed = match self.current() {
                Ok(active) => return Ok(active),
                Err(None) => {
                    return Err(StoreError::unavailable("the store is closed"));
                }
                Err(Some(_)) => self.changed.listen(),
            };
            if let Err(Some(_)) = self.current() {
                via_notifier(&self.context.notifier, changed).await;
            }
        }
    }
}

fn check_process(process: u32) -> Result<(), StoreError> {
    if process == std::process::id() {
        return Ok(());
    }
    let reason =
        "this process was forked from the one that opened the store; open another store in the child";
    Err(StoreError::misconfigured(reason))
}

fn not_started(error: io::Error) -> Error {
    Error::Thread(Cause::new("the background thread of the store could not be started").with_source(error))
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_up = matches!(*self.state.read(), State::Up(_));
        f.debug_struct("ConnectionManager")
            .field("address", &self.context.address)
            .field("is_up", &is_up)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a forked child has no background thread, and each call in it waited for ever.
    #[test]
    fn a_store_works_only_in_the_process_that_opened_it() {
        assert!(check_process(std::process::id()).is_ok());
        let other = check_process(std::process::id() + 1);
        assert!(matches!(other, Err(StoreError::Misconfigured(_))), "{other:?}");
    }
}
