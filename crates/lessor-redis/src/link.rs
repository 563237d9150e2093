//! The connection to the server: made, checked, watched and made anew by a thread of the store's own.
//!
//! Callers send through it from whatever thread or executor they are on, all on one connection, one request behind the other without waiting for
//! answers in between. No request is ever sent twice.

mod exchange;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_listener::Event;
use futures_lite::future;
use lessor_core::store::{Notifier, mark_own_thread};
use lessor_core::{Error, StoreError, Timestamp};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Notify;

pub(crate) use exchange::Sent;

use crate::address::Address;
use crate::clock::{ONLY, ServerClock};
use crate::cluster::Cluster;
use crate::deadlines::Deadlines;
use crate::failure::{Effect, judge, kind_of, unanswered};
use crate::hints::Listeners;
use crate::probe;
use crate::server::{self, Server};
use crate::settings::Settings;
use crate::wake::shielded;
use crate::wire::Wire;

/// How long the first wait is after a connection could not be made, and the longest.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How often the server is asked for the time while nothing else does.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// With every how many of these questions the server is asked whether it is still fit.
pub(crate) const CHECK_EVERY: u32 = 2;

#[derive(Clone)]
enum Way {
    One(Wire),
    Cluster(Arc<Cluster>),
}

/// A connection that was there when it was asked for.
#[derive(Clone)]
struct Live {
    way: Way,
    generation: u64,
    /// Whether the server tells of changes to what was loaded.
    is_told: bool,
}

enum State {
    Up(Live),
    Down(Reason),
    Closed,
}

/// Why there is no connection.
#[derive(Clone)]
struct Reason {
    text: String,
    /// There will be none until the configuration is changed.
    is_lasting: bool,
}

impl Reason {
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_lasting: false }
    }

    fn of(error: StoreError) -> Self {
        match error {
            StoreError::Misconfigured { reason } => Self { text: reason, is_lasting: true },
            StoreError::Unavailable { reason } => Self::passing(reason),
            other => Self::passing(other.to_string()),
        }
    }
}

pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) address: Address,
    pub(crate) clock: ServerClock,
    pub(crate) listeners: Arc<Listeners>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<redis::TlsCertificates>,
    /// Of the application.
    pub(crate) runtime: Option<Handle>,
    /// The process whose thread looks after the connection.
    process: u32,
    deadlines: Deadlines,
    /// Wakes callers. A store that is opened in a forked child has another one.
    pub(crate) notifier: Notifier,
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
        runtime: Option<Handle>,
        #[cfg(feature = "tls")] certificates: Option<redis::TlsCertificates>,
    ) -> Result<Arc<Self>, Error> {
        let notifier = Notifier::new();
        let link = Arc::new(Self {
            settings,
            address,
            clock: ServerClock::new(),
            listeners,
            #[cfg(feature = "tls")]
            certificates,
            runtime,
            process: std::process::id(),
            deadlines: Deadlines::new(notifier.clone()),
            notifier,
            state: RwLock::new(State::Down(Reason::passing("not connected yet"))),
            changed: Event::new(),
            wanted: Notify::new(),
            generation: AtomicU64::new(0),
            server: RwLock::new(None),
            replaced: AtomicU64::new(0),
        });
        let own = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let own = own.map_err(|error| Error::Thread { reason: error.to_string() })?;
        let (sender, first) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("lessor-redis".to_owned());
        let keeper = Arc::clone(&link);
        let run = move || {
            mark_own_thread();
            own.block_on(future::or(keeper.keep(sender), keeper.watch()));
        };
        thread.spawn(run).map_err(|error| Error::Thread { reason: error.to_string() })?;
        match first.recv() {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Thread { reason: "the thread of the store has ended".to_owned() }),
        }
    }

    /// Fails in a forked child: there is no thread that looks after the connection, and locks may be held for ever.
    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        check_process(self.process)
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
                    match self.cluster() {
                        Some(cluster) => cluster.watch(self).await,
                        None => self.while_it_works().await,
                    }
                }
                Err(error) => {
                    if let Some(first) = first.take() {
                        self.close();
                        let _ = first.send(Err(error));
                        return;
                    }
                    tracing::warn!(%error, "no connection could be made; trying again");
                    self.fall(None, Reason::of(error));
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Makes a connection, checks what is behind it, and shows it to callers.
    async fn connect(self: &Arc<Self>) -> Result<(), StoreError> {
        let generation = self.next_generation();
        let live = if self.address.is_cluster {
            Live { way: Way::Cluster(Cluster::open(self).await?), generation, is_told: true }
        } else {
            self.connect_to_one(generation).await?
        };
        let one = match &live.way {
            Way::One(wire) => Some(wire.clone()),
            Way::Cluster(_) => None,
        };
        let mut state = self.state.write();
        if !matches!(*state, State::Closed) {
            *state = State::Up(live);
        }
        drop(state);
        // It may have been closed before anybody could be told to make another one.
        if one.is_some_and(|wire| wire.is_over()) {
            self.fall(Some(generation), Reason::passing("the connection was closed"));
        }
        self.changed.notify(usize::MAX);
        // What changed in between was not told.
        self.listeners.all_changed();
        Ok(())
    }

    async fn connect_to_one(self: &Arc<Self>, generation: u64) -> Result<Live, StoreError> {
        let place = &self.address.place;
        let unknown = || StoreError::Unavailable { reason: "the URL names no server".to_owned() };
        let node = self.address.nodes.first().cloned().ok_or_else(unknown)?;
        let fallen = Arc::downgrade(self);
        let lost = move || {
            if let Some(link) = fallen.upgrade() {
                link.fall(Some(generation), Reason::passing("the connection was closed"));
            }
        };
        let mut wire = server::connect(self, node, place, lost).await?;
        let server = server::look(self, place, &mut wire).await?;
        let former = self.server();
        server::check(&self.settings, place, &server, former.as_ref())?;
        let sample = server::sample(&self.clock, ONLY, &mut wire).await;
        sample.map_err(|error| judge(&error, self.asked(place, "TIME"), Effect::Read).error)?;
        probe::probe(self, place, &mut wire, |_| true).await?;
        wire.trust();
        let is_told = server::track(place, &mut wire).await;
        self.met(place, server.clone(), former.is_some_and(|former| former.run_id != server.run_id));
        Ok(Live { way: Way::One(wire), generation, is_told })
    }

    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// There is a server; in the place of another one, perhaps.
    pub(crate) fn met(&self, place: &str, server: Server, is_other: bool) {
        *self.server.write() = Some(server);
        if is_other {
            self.replaced.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(place, "the server was restarted, or another one has taken its place");
        }
    }

    /// A server said what its time is, in answer to what was sent at `sent`.
    pub(crate) fn saw(&self, sent: u64, server: Timestamp) {
        match self.address.is_cluster {
            // Which of the nodes said it is not known here, but where it was sent.
            true => self.clock.saw(server),
            false => self.clock.sample(ONLY, sent, server),
        }
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        match &*self.state.read() {
            State::Up(Live { way: Way::Cluster(cluster), .. }) => Some(Arc::clone(cluster)),
            _ => None,
        }
    }

    /// Until the connection is broken. Asks for the time every so often, and less often whether the server is still fit.
    async fn while_it_works(&self) {
        for round in 1_u32.. {
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
            let Way::One(mut wire) = live.way else { return };
            if is_wanted {
                continue;
            }
            let work = async {
                let sample = server::sample(&self.clock, ONLY, &mut wire).await;
                sample.map_err(|error| {
                    let place = &self.address.place;
                    Reason::passing(format!("the connection to {place} failed: {}", kind_of(&error)))
                })?;
                if round % CHECK_EVERY == 0 { self.check_again(&mut wire).await } else { Ok(()) }
            };
            let timeout = async {
                tokio::time::sleep(self.settings.deadline).await;
                Err(Reason::passing(format!("{} did not answer in time", self.address.place)))
            };
            if let Err(reason) = future::or(work, timeout).await {
                self.fall(Some(live.generation), reason);
                return;
            }
        }
    }

    /// What is set at the server may have changed since.
    async fn check_again(&self, wire: &mut Wire) -> Result<(), Reason> {
        let place = &self.address.place;
        let server = server::look(self, place, wire).await.map_err(Reason::of)?;
        let former = self.server();
        if former.as_ref() == Some(&server) {
            return Ok(());
        }
        let checked = server::check(&self.settings, place, &server, former.as_ref());
        *self.server.write() = Some(server);
        checked.map_err(Reason::of)
    }

    /// The connection of this generation, or whichever there is, is of no more use.
    fn fall(&self, generation: Option<u64>, reason: Reason) {
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
        let cluster = self.cluster();
        *self.state.write() = State::Closed;
        if let Some(cluster) = cluster {
            cluster.close();
        }
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
    fn look(&self) -> Result<Live, Option<Reason>> {
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
                shielded(&self.notifier, changed).await;
            }
        }
    }
}

fn check_process(process: u32) -> Result<(), StoreError> {
    if process == std::process::id() {
        return Ok(());
    }
    let reason =
        "this process was forked from the one that opened the store; open a store in the child itself";
    Err(StoreError::Misconfigured { reason: reason.to_owned() })
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_up = matches!(*self.state.read(), State::Up(_));
        f.debug_struct("Link").field("address", &self.address).field("is_up", &is_up).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The story: the thread of the store does not exist in a forked child, and each call there waited for ever.
    #[test]
    fn a_store_is_of_use_only_in_the_process_that_opened_it() {
        assert!(check_process(std::process::id()).is_ok());
        let other = check_process(std::process::id() + 1);
        assert!(matches!(other, Err(StoreError::Misconfigured { .. })), "{other:?}");
    }
}
