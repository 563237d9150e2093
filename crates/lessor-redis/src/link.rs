//! The connection to the server: made, checked, watched and made anew by a thread of the store's own.
//!
//! Callers send through it from whatever thread or executor they are on, all on one connection, one request behind the other without waiting for
//! answers in between. No request is ever sent twice.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use event_listener::Event;
use futures_lite::future;
use lessor_core::{Error, StoreError};
use parking_lot::RwLock;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Notify;

use crate::address::Address;
use crate::clock::ServerClock;
use crate::deadlines::{Deadlines, Expiry};
use crate::failure::{Effect, judge, unanswered};
use crate::hints::Listeners;
use crate::server::{self, Server};
use crate::settings::Settings;

/// How long the first wait is after a connection could not be made, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How often the server is asked for the time while nothing else does.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    pub(crate) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(wire) => wire.send_packed_command(command).await,
            Self::Cluster(wire) => wire.req_packed_command(command).await,
        }?
        .extract_error()
    }

    /// The server shall tell when what the command reads changes.
    async fn send_told(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLIENT").arg("CACHING").arg("YES").add_command(command.clone());
        let mut answers = self.send_all(&pipeline, 2).await?;
        answers.pop().unwrap_or_default().extract_error()
    }

    async fn send_all(&mut self, pipeline: &Pipeline, count: usize) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(wire) => wire.send_packed_commands(pipeline, 0, count).await,
            Self::Cluster(wire) => wire.req_packed_commands(pipeline, 0, count).await,
        }
    }
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Master {
    host: String,
    port: u16,
}

/// A connection that was there when it was asked for.
#[derive(Clone)]
struct Live {
    wire: Wire,
    generation: u64,
    /// Whether the server tells of changes to what was loaded.
    is_told: bool,
}

enum State {
    Up(Live),
    Down(String),
    Closed,
}

pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) address: Address,
    pub(crate) clock: ServerClock,
    pub(crate) listeners: Arc<Listeners>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<redis::TlsCertificates>,
    deadlines: Deadlines,
    state: RwLock<State>,
    changed: Event,
    /// The connection is broken, or the store is closed.
    wanted: Notify,
    generation: AtomicU64,
    /// What is known of the server, and how often another one was found in its place.
    server: RwLock<Option<Server>>,
    replaced: AtomicU64,
}

impl Link {
    /// Connects, and goes on looking after the connection. Fails if there is none before the deadline.
    pub(crate) fn open(
        settings: Settings,
        address: Address,
        listeners: Arc<Listeners>,
        #[cfg(feature = "tls")] certificates: Option<redis::TlsCertificates>,
    ) -> Result<Arc<Self>, Error> {
        let link = Arc::new(Self {
            settings,
            address,
            clock: ServerClock::new(),
            listeners,
            #[cfg(feature = "tls")]
            certificates,
            deadlines: Deadlines::default(),
            state: RwLock::new(State::Down("not connected yet".to_owned())),
            changed: Event::new(),
            wanted: Notify::new(),
            generation: AtomicU64::new(0),
            server: RwLock::new(None),
            replaced: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Error::Thread { reason: error.to_string() })?;
        let (sender, first) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("lessor-redis".to_owned());
        let keeper = Arc::clone(&link);
        let run = move || runtime.block_on(future::or(keeper.keep(sender), keeper.watch()));
        thread.spawn(run).map_err(|error| Error::Thread { reason: error.to_string() })?;
        match first.recv() {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Thread { reason: "the thread of the store has ended".to_owned() }),
        }
    }

    async fn watch(&self) {
        self.deadlines.watch(|| self.clock.local()).await;
    }

    /// Runs until the store is closed.
    async fn keep(self: &Arc<Self>, first: std::sync::mpsc::Sender<Result<(), StoreError>>) {
        let mut first = Some(first);
        let mut backoff = BACKOFF.0;
        while !self.is_closed() {
            let connected = future::or(self.connect(), async {
                tokio::time::sleep(self.settings.deadline).await;
                Err(unanswered(Effect::Read, format!("{} did not answer in time", self.address.place)))
            });
            match connected.await {
                Ok(()) => {
                    backoff = BACKOFF.0;
                    first.take().map(|first| first.send(Ok(())));
                    self.while_it_works().await;
                }
                Err(error) => {
                    if let Some(first) = first.take() {
                        self.close();
                        let _ = first.send(Err(error));
                        return;
                    }
                    tracing::warn!(%error, "no connection could be made; trying again");
                    self.fall(None, error.to_string());
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Makes a connection, checks what is behind it, and shows it to callers.
    async fn connect(self: &Arc<Self>) -> Result<(), StoreError> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let mut wire = server::connect(self, generation).await?;
        let server = server::look(self, &mut wire).await?;
        let is_told = server::track(self, &mut wire).await;
        let other = self.server.write().replace(server.clone());
        if other.is_some_and(|other| other.run_id != server.run_id) {
            self.replaced.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                place = self.address.place,
                "the server was restarted, or another one has taken its place"
            );
        }
        let mut state = self.state.write();
        if !matches!(*state, State::Closed) {
            *state = State::Up(Live { wire, generation, is_told });
        }
        drop(state);
        self.changed.notify(usize::MAX);
        // What changed in between was not told.
        self.listeners.all_changed();
        Ok(())
    }

    /// Until the connection is broken. Asks for the time every so often.
    async fn while_it_works(&self) {
        loop {
            let is_wanted = async {
                self.wanted.notified().await;
                true
            };
            let is_due = async {
                tokio::time::sleep(SAMPLE_EVERY).await;
                false
            };
            let is_wanted = future::or(is_wanted, is_due).await;
            let live = match &*self.state.read() {
                State::Up(live) => live.clone(),
                _ => return,
            };
            if !is_wanted {
                let sample = async {
                    let mut wire = live.wire.clone();
                    server::sample(&self.clock, &mut wire).await.map_err(|error| error.category().to_owned())
                };
                let timeout = async {
                    tokio::time::sleep(self.settings.deadline).await;
                    Err("it did not answer in time".to_owned())
                };
                if let Err(reason) = future::or(sample, timeout).await {
                    self.fall(
                        Some(live.generation),
                        format!("the connection to {} failed: {reason}", self.address.place),
                    );
                    return;
                }
            }
        }
    }

    /// The connection of this generation, or whichever there is, is of no more use.
    pub(crate) fn fall(&self, generation: Option<u64>, reason: String) {
        let mut state = self.state.write();
        let is_meant = match &*state {
            State::Up(live) => generation.is_none_or(|generation| generation == live.generation),
            State::Down(_) => generation.is_none(),
            State::Closed => false,
        };
        if is_meant {
            *state = State::Down(reason);
            drop(state);
            self.wanted.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        *self.state.write() = State::Closed;
        self.changed.notify(usize::MAX);
        self.wanted.notify_one();
    }

    fn is_closed(&self) -> bool {
        matches!(*self.state.read(), State::Closed)
    }

    pub(crate) fn server(&self) -> Option<Server> {
        self.server.read().clone()
    }

    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// What is there now; or what to wait for, and why.
    fn look(&self) -> Result<Live, Option<String>> {
        match &*self.state.read() {
            State::Up(live) => Ok(live.clone()),
            State::Down(reason) => Err(Some(reason.clone())),
            State::Closed => Err(None),
        }
    }

    /// A connection, once there is one.
    async fn live(&self) -> Result<Live, StoreError> {
        loop {
            let changed = match self.look() {
                Ok(live) => return Ok(live),
                Err(None) => {
                    return Err(StoreError::Unavailable { reason: "the store is closed".to_owned() });
                }
                Err(Some(_)) => self.changed.listen(),
            };
            if let Err(Some(_)) = self.look() {
                changed.await;
            }
        }
    }

    fn expiry(&self) -> Expiry<'_, impl Fn() -> u64 + Unpin> {
        Expiry::new(&self.deadlines, || self.clock.local(), self.settings.deadline)
    }

    /// Sends a command and waits for its answer, until the deadline.
    pub(crate) async fn call(&self, command: &Cmd, effect: Effect) -> Result<Value, StoreError> {
        self.exchange(effect, async |live| live.wire.send(command).await).await
    }

    /// The same for a script that the server may not have, which is `None`. If it `is_told`, the server shall tell when what the script
    /// reads changes.
    pub(crate) async fn call_script(
        &self,
        command: &Cmd,
        effect: Effect,
        is_told: bool,
    ) -> Result<Option<Value>, StoreError> {
        self.exchange(effect, async |live| {
            let answer = match is_told && live.is_told {
                true => Box::pin(live.wire.send_told(command)).await,
                false => live.wire.send(command).await,
            };
            match answer {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
                answer => answer.map(Some),
            }
        })
        .await
    }

    /// The masters that keys are on: all of a cluster, or `None` for the one that there is.
    pub(crate) async fn masters(&self) -> Result<Vec<Option<Master>>, StoreError> {
        if !self.address.is_cluster {
            return Ok(vec![None]);
        }
        let mut masters = Vec::new();
        if let Value::Array(ranges) = self.call(cmd("CLUSTER").arg("SLOTS"), Effect::Read).await? {
            for range in &ranges {
                let Value::Array(parts) = range else { continue };
                let Some(Value::Array(master)) = parts.get(2) else { continue };
                if let [Value::BulkString(host), Value::Int(port), ..] = &master[..]
                    && let (Ok(host), Ok(port)) = (String::from_utf8(host.clone()), u16::try_from(*port))
                {
                    let master = Some(Master { host, port });
                    if !masters.contains(&master) {
                        masters.push(master);
                    }
                }
            }
        }
        Ok(masters)
    }

    /// Reads, each with a command for one key, one behind the other; on a cluster, where they may be on several nodes, one after the
    /// other.
    pub(crate) async fn read_each(&self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        self.exchange(Effect::Read, async |live| {
            if commands.is_empty() || self.address.is_cluster {
                let mut values = Vec::with_capacity(commands.len());
                for command in commands {
                    values.push(live.wire.send(command).await?);
                }
                return Ok(values);
            }
            let mut pipeline = redis::pipe();
            for command in commands {
                pipeline.add_command(command.clone());
            }
            let values = live.wire.send_all(&pipeline, commands.len()).await?;
            values.into_iter().map(Value::extract_error).collect()
        })
        .await
    }

    /// Asks one of the masters.
    pub(crate) async fn ask(&self, master: Option<&Master>, command: &Cmd) -> Result<Value, StoreError> {
        self.exchange(Effect::Read, async |live| match (&mut live.wire, master) {
            (Wire::Cluster(wire), Some(Master { host, port })) => {
                let node = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                wire.route_command(command.clone(), RoutingInfo::SingleNode(node)).await?.extract_error()
            }
            (wire, _) => wire.send(command).await,
        })
        .await
    }

    async fn exchange<T>(
        &self,
        effect: Effect,
        send: impl AsyncFnOnce(&mut Live) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        // Until something may have been sent, nothing has happened for certain.
        let mut sent_on = None;
        // Whatever is seldom needed has a box of its own, and nothing is moved into another future: each call allocates this one,
        // which is several times as fast below one KiB.
        {
            let mut exchange = pin!(async {
                let mut live = match self.look() {
                    Ok(live) => live,
                    Err(_) => Box::pin(self.live()).await?,
                };
                sent_on = Some(live.generation);
                send(&mut live).await.map_err(|error| {
                    let failure = judge(&error, &self.address.place, effect);
                    if failure.is_broken {
                        self.fall(Some(live.generation), failure.error.to_string());
                    }
                    failure.error
                })
            });
            let mut expiry = self.expiry();
            let outcome = future::poll_fn(|context| match exchange.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending => Pin::new(&mut expiry).poll(context).map(|()| None),
            });
            if let Some(outcome) = outcome.await {
                return outcome;
            }
        }
        let place = &self.address.place;
        Err(match sent_on {
            None => {
                let reason = match self.look() {
                    Err(Some(reason)) => reason,
                    _ => "there was none in time".to_owned(),
                };
                StoreError::Unavailable { reason: format!("no connection to {place}: {reason}") }
            }
            Some(generation) => {
                let reason = format!("{place} did not answer in {:?}", self.settings.deadline);
                // Answers come in order, so those behind this one would be late as well.
                self.fall(Some(generation), reason.clone());
                unanswered(effect, reason)
            }
        })
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_up = matches!(*self.state.read(), State::Up(_));
        f.debug_struct("Link").field("address", &self.address).field("is_up", &is_up).finish_non_exhaustive()
    }
}
