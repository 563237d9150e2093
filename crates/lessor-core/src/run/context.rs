//! The parts of an engine that its leases, requests and background tasks share.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::key_text::KeyError;
use crate::data::lease_id::LeaseId;
use crate::data::record::Record;
use crate::data::store_error::StoreError;
use crate::rules::settings::{Schedule, Settings};
use crate::rules::{Answer, Command, Keep};
use crate::run::abandoned::AbandonQueue;
use crate::run::background::Background;
use crate::run::clock::EngineClock;
use crate::run::namespace::{Namespace, Namespaces};
use crate::run::observer::Observer;
use crate::run::observer::counters::Counters;
use crate::run::observer::event::Event;
use crate::run::random::LeaseIds;
use crate::run::watches::Watches;
use crate::store::contract::Store;
use crate::store::notifier::Listener;
use crate::store::operation::{EngineParts, Executed, Execution, Operation, Outcome, Report};
use crate::store::types::Reply;
use crate::sync::pending::Pending;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) schedule: Schedule,
    pub(crate) lease_ids: LeaseIds,
    pub(crate) clock: Arc<EngineClock>,
    pub(crate) watches: Watches,
    pub(crate) background: Background,
    pub(crate) abandoned: AbandonQueue<Orphan>,
    pub(crate) closed: AtomicBool,
    pub(crate) observer: Arc<Observer>,
    pub(crate) namespaces: Namespaces,
}

/// A lease whose holder is gone.
pub(crate) struct Orphan {
    pub(crate) engine: Arc<Handle>,
    pub(crate) key: Key,
    pub(crate) lease_id: LeaseId,
    pub(crate) work: Work,
}

/// What is known of the work of a lease whose holder is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing was done.
    NotBegun,
    /// The work may be half done.
    MayHaveBegun,
}

/// The answer to an operation, and the record that it wrote, if known.
pub(crate) type Answered = Result<(Answer, Option<Record>), Error>;

impl Shared {
    /// Returns whether the engine is being closed, so that it grants no more leases.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Counts and reports an event of the background.
    pub(crate) fn record(&self, event: &Event<'_>) {
        self.observer.record(&self.observer.counters, event);
    }

    /// Handles the store's reply: notifies waiters and holders if a record was written, and returns
    /// the answer.
    #[inline]
    pub(crate) fn take(&self, key: &Key, executed: Result<Executed, StoreError>) -> Answered {
        let executed = executed?;
        if let Some((record, now)) = &executed.written {
            self.watches.written(key, record, *now);
        }
        executed.into_answer()
    }
}

impl Listener for Shared {
    fn key_changed(&self, key: &Key) {
        self.watches.hint(key);
    }

    fn all_changed(&self) {
        self.background.all_changed();
        self.watches.hint_all();
    }
}

/// A reference to an engine, held by each of its leases and requests.
///
/// Each lease keeps its engine alive. A single reference count would be contended across threads,
/// so there are 32 handles on separate cache lines, each with its own count. Each thread uses one.
///
/// For the same reason, each handle has counters of its own.
///
/// An engine of a namespace has handles of its own, with the settings of the namespace.
#[repr(align(128))]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) keep: Keep,
    /// `None` outside of the namespaces.
    pub(crate) namespace: Option<Arc<Namespace>>,
    counters: Arc<Counters>,
}

impl Deref for Handle {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Handle {
    /// Returns the key under which the store keeps `key`.
    pub(crate) fn key(&self, key: &str) -> Result<Key, KeyError> {
        match &self.namespace {
            None => Key::new(key),
            Some(namespace) => Key::check(key).map(|()| Key::checked(&namespace.space.text(key))),
        }
    }

    /// Counts and reports an event of a caller.
    #[inline(always)]
    pub(crate) fn record(&self, event: &Event<'_>) {
        self.observer.record(&self.counters, event);
    }

    /// Sends a command to the store.
    pub(crate) fn send(&self, key: &Key, command: &Command) -> Reply<Executed> {
        let mut executed = Executed::from(Outcome::Refused(Error::unexpected()));
        let mut sink = |report: Report<'_>| executed.receive(report);
        let mut made = None;
        let mut operation = Operation::command(self, self.keep, key, &mut made, command, &mut sink);
        match self.store.execute(&mut operation) {
            Execution::Done(_) => Pending::ready(Ok(executed)),
            Execution::Later(reply) => reply,
        }
    }

    /// Sends a command to the store, and returns the answer.
    pub(crate) async fn run(&self, key: &Key, command: Command) -> Answered {
        let executed = self.send(key, &command).await;
        self.take(key, executed)
    }

    /// Sends a command to the store, and passes the answer to `finish`.
    pub(crate) fn execute<T: Send + 'static>(
        self: &Arc<Self>,
        key: Key,
        command: Command,
        finish: impl FnOnce(Answered) -> T + Send + 'static,
    ) -> Pending<T> {
        match self.send(&key, &command).try_take() {
            Ok(executed) => Pending::ready(finish(self.take(&key, executed))),
            Err(reply) => {
                let engine = Arc::clone(self);
                reply.map(move |executed| finish(engine.take(&key, executed)))
            }
        }
    }
}

impl EngineParts for Handle {
    fn draw_lease_id(&self) -> Result<LeaseId, Error> {
        self.lease_ids.draw()
    }

    fn default_holder(&self) -> Option<&str> {
        self.settings.holder.as_deref()
    }

    #[inline]
    fn is_watched(&self, key: &Key) -> bool {
        self.watches.may_have(key)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The handles of an engine. Each thread uses one. Their number is a power of two.
#[derive(Clone)]
pub(crate) struct Handles(Arc<[Arc<Handle>]>);

/// Exceeds the number of cores of most machines. Each handle takes 640 bytes with its counters.
const HANDLES: usize = 32;

thread_local! {
    /// The index of the thread's handle. Indices are assigned round-robin.
    static INDEX: usize = NEXT_INDEX.fetch_add(1, Ordering::Relaxed);
}
static NEXT_INDEX: AtomicUsize = AtomicUsize::new(0);

impl Handles {
    /// Returns the handles of an engine, outside of its namespaces.
    pub(crate) fn new(shared: &Arc<Shared>, settings: Settings) -> Self {
        Self::with(shared, settings, None, &std::array::from_fn::<_, HANDLES, _>(|_| Arc::default()))
    }

    /// Returns the handles of a namespace.
    pub(crate) fn of_namespace(shared: &Arc<Shared>, settings: Settings, namespace: Namespace) -> Self {
        let namespace = Arc::new(namespace);
        Self::with(shared, settings, Some(&namespace), &namespace.space.counters)
    }

    fn with(
        shared: &Arc<Shared>,
        settings: Settings,
        namespace: Option<&Arc<Namespace>>,
        counters: &[Arc<Counters>],
    ) -> Self {
        let keep = Keep::new(settings.limits.retention, settings.limits.max_history);
        let settings = Arc::new(settings);
        let handle = |counters: &Arc<Counters>| {
            Arc::new(Handle {
                shared: Arc::clone(shared),
                settings: Arc::clone(&settings),
                keep,
                namespace: namespace.map(Arc::clone),
                counters: Arc::clone(counters),
            })
        };
        Self(counters.iter().map(handle).collect())
    }

    /// Returns the counters of all handles.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.0.iter().map(|handle| &*handle.counters)
    }

    /// Returns the thread's handle.
    #[expect(
        clippy::indexing_slicing,
        reason = "the masked index is within bounds, and there are always handles"
    )]
    pub(crate) fn get(&self) -> &Arc<Handle> {
        // A thread that is being torn down has no index any more. Any handle works.
        &self.0[INDEX.try_with(|index| *index).unwrap_or(0) & (self.0.len() - 1)]
    }
}
