//! [`Engine`], the entry point of the library.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_lite::future;

use crate::api::acquire::AcquireRequest;
use crate::api::lease::handle::LeaseHandle;
use crate::api::once::Once;
use crate::api::within::refuse_own_work;
use crate::data::error::Error;
use crate::data::lease_id::LeaseId;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::view::View;
use crate::rules::settings::Settings;
use crate::run::abandoned::AbandonQueue;
use crate::run::background::Background;
use crate::run::clock::EngineClock;
use crate::run::context::{Handle, Handles, Shared};
use crate::run::namespace::Namespaces;
use crate::run::observer::Observer;
use crate::run::observer::counters::Stats;
use crate::run::random::LeaseIds;
use crate::run::tasks::{self};
use crate::run::wait::{NextStep, Purpose, Reading, Waiter};
use crate::run::watches::Watches;
use crate::store::contract::Store;
use crate::store::notifier::ChangeNotifier;
use crate::store::types::Durability;
use crate::sync::pending::Pending;

/// Grants leases on keys, over one store. Cheap to clone; clones share all state.
///
/// Operations return a [`Pending`]. Async code awaits it under any executor, and plain threads call
/// [`wait`](Pending::wait). All operations are cancellation safe, as [`Pending`] describes.
///
/// An engine has three background threads. One renews leases that are kept alive, detects lost
/// leases, and abandons dropped ones. One reads records for waiters. One purges old records. They
/// end when the last clone of the engine, and the last of its leases and requests, is dropped. None
/// of them runs the application's code: wakers of its futures are invoked on further threads, which
/// are started on demand.
///
/// An engine cannot be used after `fork`. The child has to create another one over a newly opened
/// store.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Acquisition, Engine};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// if let Acquisition::Acquired(lease) = engine.acquire("invoice-42").wait()? {
///     // Do the work, then deliver its result.
///     lease.complete(&"charged").wait()?;
/// }
/// let view = engine.status("invoice-42").wait()?.expect("the key has a record");
/// assert_eq!(view.result::<String>()?, "charged");
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(super) handles: Handles,
}

/// The minimum time for which [`Engine::wait_for`] waits for its first reading.
const FIRST_READING: Duration = Duration::from_millis(250);

impl Engine {
    /// Returns an engine with the default settings.
    ///
    /// # Errors
    ///
    /// See [`with_settings`](Self::with_settings).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// assert_eq!(engine.durability(), Durability::Volatile);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new(store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::with_settings(store, Settings::default())
    }

    /// Returns an engine with custom settings.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if a setting is out of its range.
    /// - [`Error::Thread`] if a background thread cannot be started.
    /// - [`Error::Randomness`] if the operating system returns no random bits.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// let settings = Settings::new().default_ttl(Duration::from_secs(30)).holder("worker-1");
    /// let store = std::sync::Arc::new(lessor_memory::MemoryStore::new());
    /// let engine = Engine::with_settings(store, settings)?;
    /// assert_eq!(engine.settings().holder.as_deref(), Some("worker-1"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_settings(store: Arc<dyn Store>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let clock = Arc::new(EngineClock::new(Arc::clone(&store)));
        let background = Background::start(&clock)?;
        let lease_ids = LeaseIds::new()?;
        let observer = Arc::new(Observer::new(&settings));
        let watches = Watches::new(&store, &clock, &background, &settings.schedule, &observer);
        let closed = AtomicBool::new(false);
        let abandoned = AbandonQueue::default();
        let shared = Arc::new(Shared {
            store,
            schedule: settings.schedule.clone(),
            lease_ids,
            clock,
            watches,
            background,
            abandoned,
            closed,
            observer,
            namespaces: Namespaces::default(),
        });
        tasks::start(&shared);
        shared.store.subscribe(ChangeNotifier::new(&shared));
        let handles = Handles::new(&shared, settings);
        Ok(Self { shared, handles })
    }

    /// Returns a request for the lease on `key`. The first caller is granted the lease, and others
    /// get the state of the work.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// match engine.acquire("job").wait()? {
    ///     Acquisition::Acquired(lease) => drop(lease.complete("done").wait()?),
    ///     other => println!("not now: {other:?}"),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn acquire<'a>(&'a self, key: &'a (impl AsRef<str> + ?Sized)) -> AcquireRequest<'a> {
        AcquireRequest::new(self.handle(), key.as_ref())
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        self.handles.get()
    }

    /// Returns a request to run a piece of work once. All callers with the same key get the outcome
    /// of one run. The request borrows nothing. An invalid key is reported when it is run.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let charge = engine.once("invoice:42").run(|_lease| Ok::<_, Message>("charged".to_owned()));
    /// assert_eq!(charge.unwrap().into_value(), "charged");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn once<T, E>(&self, key: impl AsRef<str>) -> Once<T, E> {
        Once::new(self.handle(), key.as_ref())
    }

    /// Returns a handle to the lease with this id, for a holder in another process. Does not access
    /// the store. The operations of the handle fail with [`Error::NotHolder`] if the id is not that
    /// of the current grant.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if `key` is not a valid key.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// // The id was sent to another process, as a secret.
    /// let handle = engine.lease_handle("job", *lease.lease_id())?;
    /// handle.complete("done elsewhere").wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lease_handle(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        lease_id: LeaseId,
    ) -> Result<LeaseHandle, Error> {
        let engine = self.handle();
        Ok(LeaseHandle::by_id(Arc::clone(engine), engine.key(key.as_ref())?, lease_id))
    }

    /// Returns the state of the key, or `None` if it has no record.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if `key` is not a valid key, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.state(), State::InProgress);
    /// assert!(engine.status("another job").wait()?.is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn status(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<Result<Option<View>, Error>> {
        let key = match self.handle().key(key.as_ref()) {
            Ok(key) => key,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        self.shared.store.load(&key).map(|seen| Ok(View::of_snapshot(&seen?)))
    }

    /// Returns the state of the key if its work is completed or failed, and otherwise `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if `key` is not a valid key, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(engine.result("job").wait()?.is_none());
    /// lease.complete("done").wait()?;
    /// let view = engine.result("job").wait()?.unwrap();
    /// assert_eq!(view.result::<String>()?, "done");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn result(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<Result<Option<View>, Error>> {
        self.status(key).map(|view| Ok(view?.filter(View::is_finished)))
    }

    /// Waits until the key is not in progress, and returns its state: finished, lapsed, released,
    /// or `None` if it has no record. After `timeout`, which begins with this call, returns a state
    /// that is still in progress.
    ///
    /// The state comes from a reading of the record that began after the call. The record is read
    /// again after each change through this engine, after each notification of the store, and every
    /// [`Schedule::poll_every`](field@crate::Schedule::poll_every). One reading answers all waiters
    /// of the key.
    ///
    /// # Errors
    ///
    /// - [`Error::Key`] if `key` is not a valid key.
    /// - [`Error::Invalid`] if the call comes from within [`Once`] work of the same key.
    /// - [`StoreError::Unavailable`] if the store has not answered any reading within `timeout`, or
    ///   within 250 ms if that is longer.
    /// - The error of the store after three consecutive failed readings.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let waiting = engine.wait_for("job", Duration::from_secs(60));
    /// lease.complete("done").wait()?;
    /// assert_eq!(waiting.wait()?.unwrap().state(), State::Completed);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_for(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        timeout: Duration,
    ) -> Pending<Result<Option<View>, Error>> {
        self.wait_until(key.as_ref(), timeout, Purpose::End, unless_in_progress)
    }

    /// Waits until the key's record differs from `seen` in its state or version, and returns its
    /// state, or `None` if it has no record. After `timeout`, which begins with this call, returns
    /// the state although it is the same.
    ///
    /// The record is read like for [`wait_for`](Self::wait_for).
    ///
    /// # Errors
    ///
    /// See [`wait_for`](Self::wait_for).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use lessor_core::{Engine, State};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let _lease = engine.acquire("invoice:42").wait()?;
    /// let seen = engine.status("invoice:42").wait()?.expect("the key has a record");
    /// let change = engine.wait_for_change("invoice:42", &seen, Duration::from_secs(60));
    /// engine.resolve("invoice:42").forced().released().wait()?;
    /// assert_eq!(change.wait()?.expect("the key has a record").state(), State::Released);
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn wait_for_change(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        seen: &View,
        timeout: Duration,
    ) -> Pending<Result<Option<View>, Error>> {
        let seen = (seen.state(), seen.version(), seen.acquired_at());
        self.wait_until(key.as_ref(), timeout, Purpose::Change, move |reading| match view(reading) {
            Ok(Some(view)) if (view.state(), view.version(), view.acquired_at()) == seen => NextStep::Wait,
            answer => NextStep::Answer(answer),
        })
    }

    fn wait_until(
        &self,
        key: &str,
        timeout: Duration,
        purpose: Purpose,
        judge: impl Fn(&Reading) -> NextStep<Result<Option<View>, Error>> + Send + Sync + 'static,
    ) -> Pending<Result<Option<View>, Error>> {
        let key = match self.handle().key(key) {
            Ok(key) => key,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        if let Err(error) = refuse_own_work(&self.shared.store, &key) {
            return Pending::ready(Err(error));
        }
        let called_at = self.shared.clock.now();
        let waiter = Waiter::new(&self.shared.watches.waiters, &key, purpose);
        if let Some(NextStep::Answer(answer)) = waiter.last_reading(&judge) {
            return Pending::ready(answer);
        }
        let shared = Arc::clone(&self.shared);
        Pending::later(async move {
            let outcome = async { waiter.outcome(judge).await.unwrap_or(Err(Error::unexpected())) };
            let timed_out = async {
                let readers = &shared.background.readers;
                readers.sleep_until(called_at.saturating_add(timeout)).await;
                if let Some(answer) = waiter.last_reading(view) {
                    return answer;
                }
                readers.sleep_until(called_at.saturating_add(FIRST_READING)).await;
                let no_reading = || Err(StoreError::unavailable(no_reading(timeout)).into());
                waiter.last_reading(view).unwrap_or_else(no_reading)
            };
            future::or(outcome, timed_out).await
        })
    }

    /// Returns the store's time, which may be an estimate that is ahead of its clock.
    ///
    /// # Errors
    ///
    /// An error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let before = engine.now().wait()?;
    /// let ack = lease.extend(Duration::from_secs(600)).wait()?;
    /// assert!(ack.expires_at() >= before.saturating_add(Duration::from_secs(600)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn now(&self) -> Pending<Result<Timestamp, Error>> {
        self.shared.store.now().map(|now| Ok(now?))
    }

    /// Returns the numbers of events since the engine was created. Does not access the store.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Engine, Message};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// for _ in 0..3 {
    ///     engine.once("invoice-42").run(|_lease| Ok::<_, Message>("charged".to_owned())).unwrap();
    /// }
    /// let stats = engine.stats();
    /// assert_eq!((stats.first_grants, stats.completed, stats.replayed_results), (1, 1, 2));
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        if self.handle().namespace.is_some() {
            return Stats::sum(self.handles.counters());
        }
        let background = std::iter::once(&self.shared.observer.counters);
        let namespaces = self.shared.namespaces.all();
        let of_namespaces =
            namespaces.iter().flat_map(|space| space.counters.iter().map(|counters| &**counters));
        let mut stats = Stats::sum(background.chain(self.handles.counters()).chain(of_namespaces));
        stats.waited_keys = self.shared.watches.waiters.watched() as u64;
        stats.watched_leases = self.shared.watches.holders.count() as u64;
        stats
    }

    /// Returns the kind of failure that an acknowledged operation survives.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// if engine.durability() == Durability::Volatile {
    ///     println!("a restart forgets what was done");
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.store.durability()
    }

    /// Returns the limits and defaults of the engine.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// assert_eq!(engine.settings().limits.default_ttl, Duration::from_secs(300));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.handle().settings
    }
}

/// Returns the answer for [`Engine::wait_for`], unless the key is in progress.
fn unless_in_progress(reading: &Reading) -> NextStep<Result<Option<View>, Error>> {
    match view(reading) {
        Ok(Some(view)) if view.ttl_left().is_some() => NextStep::Wait,
        answer => NextStep::Answer(answer),
    }
}

fn view(reading: &Reading) -> Result<Option<View>, Error> {
    match reading {
        Ok(snapshot) => Ok(View::of_snapshot(snapshot)),
        Err(error) => Err(error.clone().into()),
    }
}

fn no_reading(timeout: Duration) -> String {
    format!("it did not return the record within {timeout:?}")
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.handle(), f)
    }
}
