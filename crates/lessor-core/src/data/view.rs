//! The visible state of a record. It does not contain the lease id.

mod content;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::data::history::HistoryEntry;
use crate::data::inline::Inline;
use crate::data::record::{Attributes, Body, Record, Stage};
use crate::data::snapshot::Snapshot;
use crate::data::state::State;
use crate::data::time::Timestamp;
use crate::data::token::Version;
use crate::data::trace::Trace;

/// The maximum of [`View::retry_after`].
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
const MAX_RETRY_MICROS: Micros = match NonZeroU64::new(5_000_000) {
    Some(micros) => micros,
    None => NonZeroU64::MAX,
};

/// The visible state of a key at one instant. Cheap to clone.
///
/// `Debug` omits metadata, results and error details. `Serialize` includes metadata but no results,
/// and has durations in seconds and instants in microseconds since 1970.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Acquisition, Engine, State};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let _outcome = engine.once("invoice:42").run(|_lease| Ok::<_, String>(7)).unwrap();
/// let view = engine.status("invoice:42").wait()?.expect("the key has a record");
/// assert_eq!(view.state(), State::Completed);
/// assert_eq!(view.result::<u32>()?, 7);
/// assert_eq!(view.ttl_left(), None);
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct View {
    state: State,
    token_lead: u8,
    attempt: u32,
    version: Version,
    first_seen_at: Timestamp,
    /// The end of the lease, or the time of the outcome or the release.
    ended_at: Timestamp,
    /// The remaining time of a live lease, or the time until a failed key may be acquired.
    left: Option<Micros>,
    acquired_at: Timestamp,
    /// Boxed, because a view is moved often.
    inline: Option<Box<Inline>>,
    attributes: Option<Arc<Attributes>>,
}

impl Body {
    /// Returns the state at `now`, which is not before the record's times.
    #[inline]
    fn state_at(&self, now: Timestamp) -> State {
        match self.stage {
            Stage::InProgress if now < self.expires_at => State::InProgress,
            Stage::InProgress => State::Lapsed,
            Stage::Completed => State::Completed,
            Stage::Failed => State::Failed,
            Stage::Released | Stage::Forgotten => State::Released,
        }
    }
}

impl Record {
    /// Returns the state as [`View::of`] shows it, or `None` if the record counts as absent at
    /// `now`.
    #[inline]
    pub(crate) fn visible_state(&self, now: Timestamp) -> Option<State> {
        let body = self.body();
        let now = body.not_before(now);
        body.is_kept(now).then(|| body.state_at(now))
    }
}

/// Never zero, so that the `Option` takes no extra space.
type Micros = NonZeroU64;

fn micros(duration: Duration) -> Option<Micros> {
    NonZeroU64::new(duration.as_micros().try_into().unwrap_or(u64::MAX))
}

fn duration(micros: Micros) -> Duration {
    Duration::from_micros(micros.get())
}

impl View {
    /// Returns the view of a record, or `None` if the record counts as absent at `now`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// use lessor_core::store::Scan;
    /// # let store = lessor_memory::MemoryStore::new();
    /// let page = store.scan(Scan::new("", None, 100)).wait()?;
    /// for (key, record) in &page.entries {
    ///     println!("{key}: {:?}", View::of(record, page.now));
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn of(record: &Record, now: Timestamp) -> Option<Self> {
        let body = record.body();
        // As in the rules, because a reading of the clock may be older than the record.
        let now = body.not_before(now);
        body.is_kept(now).then(|| Self::of_kept(body, now))
    }

    pub(crate) fn of_snapshot(snapshot: &Snapshot) -> Option<Self> {
        snapshot.record.as_ref().and_then(|record| Self::of(record, snapshot.now))
    }

    #[inline]
    pub(crate) fn of_kept(body: &Body, now: Timestamp) -> Self {
        let left = body.expires_at.as_micros().saturating_sub(now.as_micros());
        let wait = match body.stage {
            Stage::InProgress => NonZeroU64::new(left),
            Stage::Failed => body.retry_at().and_then(|at| micros(at.saturating_since(now))),
            _ => None,
        };
        Self {
            state: body.state_at(now),
            attempt: body.attempt,
            version: body.version,
            first_seen_at: body.first_seen_at,
            ended_at: if body.stage == Stage::InProgress { body.expires_at } else { body.done_at },
            left: wait,
            token_lead: body.token_lead,
            acquired_at: body.acquired_at,
            inline: body.inline.boxed(),
            attributes: body.attributes.clone(),
        }
    }

    pub(crate) fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.left = after.and_then(micros);
        self
    }

    /// Returns the state at the instant of the view.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.state(), State::InProgress);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns whether the work is completed or failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(!engine.status("job").wait()?.unwrap().is_finished());
    /// lease.fail("declined").wait()?;
    /// assert!(engine.status("job").wait()?.unwrap().is_finished());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed)
    }

    /// Returns whether the last holder could not know whether the work was done. The state is then
    /// [`State::Lapsed`], and the key waits for [`Engine::resolve`](crate::Engine::resolve) or for a
    /// caller that [reconciles](crate::OnLapsed::Reconcile).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// assert!(engine.status("job").wait()?.unwrap().is_in_doubt());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.attributes.as_deref().is_some_and(|attributes| attributes.in_doubt)
    }

    /// Returns the version, which rises by one with every change of the record.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.checkpoint("page 17").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.version().as_u64(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the number of grants.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.release().wait()?;
    /// let _next = engine.acquire("job").wait()?;
    /// assert_eq!(engine.status("job").wait()?.unwrap().attempt(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the remaining time of the live lease, unless it is extended. `None` unless in
    /// progress.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert!(view.ttl_left() <= Some(Duration::from_secs(300)));
    /// lease.complete("done").wait()?;
    /// assert_eq!(engine.status("job").wait()?.unwrap().ttl_left(), None);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn ttl_left(&self) -> Option<Duration> {
        self.left.filter(|_| self.state == State::InProgress).map(duration)
    }

    /// Returns the time after which the state, or the answer to an acquire, may have changed, at
    /// most 5 s. `None` if it does not change with time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.retry_after(), Some(Duration::from_secs(5)), "another caller holds it");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.left.map(|left| duration(left.min(MAX_RETRY_MICROS)))
    }

    /// Returns the time after which failed work can be retried, which may be more than 5 s.
    pub(crate) fn retry_in(&self) -> Option<Duration> {
        self.left.filter(|_| self.state == State::Failed).map(duration)
    }

    /// Returns the time after which the state, or the answer to an acquire, may have changed.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.left.map(duration)
    }

    /// Returns the time at which the key was acquired for the first time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.release().wait()?;
    /// let _next = engine.acquire("job").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert!(view.first_seen_at() <= view.acquired_at());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn first_seen_at(&self) -> Timestamp {
        self.first_seen_at
    }

    /// Returns the time of the last grant.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert!(view.acquired_at() <= engine.now().wait()?);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn acquired_at(&self) -> Timestamp {
        self.acquired_at
    }

    /// Returns the ttl of the last grant, or of its last renewal that the record tells of. `None`
    /// unless the work is in progress, or its lease has lapsed.
    ///
    /// It is longer than the renewal's own ttl if the renewal did not move the end of the lease.
    /// After a lease was abandoned, it is the time for which it was held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.last_ttl(), Some(Duration::from_secs(300)));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn last_ttl(&self) -> Option<Duration> {
        let is_open = matches!(self.state, State::InProgress | State::Lapsed);
        let trace = self.inline.as_deref().and_then(Inline::trace);
        let renewals = trace.filter(|trace| trace.attempt() == self.attempt).and_then(Trace::renewals);
        let began_at = renewals.map_or(self.acquired_at, |renewals| renewals.last_at);
        is_open.then(|| self.ended_at.saturating_since(began_at))
    }

    /// Returns the time at which the work was completed or failed. `None` if it was not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(engine.status("job").wait()?.unwrap().done_at(), None);
    /// lease.complete("done").wait()?;
    /// assert!(engine.status("job").wait()?.unwrap().done_at().is_some());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn done_at(&self) -> Option<Timestamp> {
        self.is_finished().then_some(self.ended_at)
    }

    fn extra<'a, T>(&'a self, pick: impl FnOnce(&'a Attributes) -> Option<T>) -> Option<T> {
        self.attributes.as_deref().and_then(pick)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("state", &self.state)
            .field("version", &self.version.as_u64())
            .field("attempt", &self.attempt)
            .field("ttl_left", &self.ttl_left())
            .field("retry_after", &self.retry_after())
            .field("first_seen_at", &self.first_seen_at)
            .field("done_at", &self.done_at())
            .field("error_code", &self.error_code())
            .field("holder", &self.holder())
            .finish_non_exhaustive()
    }
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            state: State,
            in_doubt: bool,
            version: Version,
            attempt: u32,
            ttl_left: Option<f64>,
            first_seen_at: Timestamp,
            done_at: Option<Timestamp>,
            result_hash: Option<String>,
            error_code: Option<&'a str>,
            retry_after: Option<f64>,
            holder: Option<&'a str>,
            metadata: Option<Value>,
            history: Vec<HistoryEntry>,
        }
        Shown {
            state: self.state,
            in_doubt: self.is_in_doubt(),
            version: self.version,
            attempt: self.attempt,
            ttl_left: self.ttl_left().map(|left| left.as_secs_f64()),
            first_seen_at: self.first_seen_at,
            done_at: self.done_at(),
            result_hash: self.result_hash(),
            error_code: self.error_code(),
            retry_after: self.retry_after().map(|after| after.as_secs_f64()),
            holder: self.holder(),
            // Numbers that are larger than a double are shown as they were given.
            metadata: self.metadata().unwrap_or_else(|_| self.metadata_json().map(Value::from)),
            history: self.history(),
        }
        .serialize(serializer)
    }
}
