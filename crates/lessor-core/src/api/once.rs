//! [`Once`], which runs a piece of work once and returns its outcome to all callers.

mod deliver;
mod outcome;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::acquire::{AcquireRequest, Acquisition};
use crate::api::lease::Lease;
use crate::api::within::refuse_own_work;
use crate::data::error::Error;
use crate::data::fingerprint::Fingerprint;
use crate::data::key::Key;
use crate::data::view::View;
use crate::rules::settings::{OnFailed, OnLapsed};
use crate::run::context::Handle;
use crate::run::wait::Waiter;
use crate::sync::pending::block_on;

pub use deliver::{ERRORED, PANICKED, RESULT_REFUSED};
use outcome::Details;
pub use outcome::{OnceError, Outcome};

/// A request to run a piece of work once. Created by [`Engine::once`](crate::Engine::once). Nothing
/// happens until [`run`](Self::run) or [`run_async`](Self::run_async).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, Lease};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let work = |_lease: &Lease| Ok::<_, std::io::Error>("charged".to_owned());
///
/// let first = engine.once("invoice-42").run(work)?;
/// let second = engine.once("invoice-42").run(work)?;
/// assert!(!first.is_replay());
/// assert!(second.is_replay());
/// assert_eq!(first.value(), second.value());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until `run` or `run_async`"]
pub struct Once<'a> {
    engine: &'a Arc<Handle>,
    key: &'a str,
    request: AcquireRequest<'a>,
    wait_timeout: Option<Duration>,
}

/// The result of a successful wait. The flag is whether the caller has waited.
enum Obtained {
    Lease(Box<Lease>, bool),
    Replay(View, bool),
}

enum Answered {
    Obtained(Obtained),
    InProgress(View),
}

impl<'a> Once<'a> {
    pub(crate) fn new(engine: &'a Arc<Handle>, key: &'a str) -> Self {
        Self { engine, key, request: AcquireRequest::new(engine, key), wait_timeout: None }
    }

    /// Sets the ttl of the lease. The lease is renewed while the work runs, so the ttl is the time
    /// after which another caller can take over from a holder that has died. From 1 ms to
    /// [`Limits::max_ttl`](field@crate::Limits::max_ttl). Default:
    /// [`Limits::default_ttl`](field@crate::Limits::default_ttl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request = self.request.ttl(ttl);
        self
    }

    /// Sets a label of the holder for observers, of at most 1024 bytes. Default:
    /// [`Settings::holder`](field@crate::Settings::holder).
    pub fn holder(mut self, holder: &str) -> Self {
        self.request = self.request.holder(holder);
        self
    }

    /// Sets metadata for observers. It must serialize to a JSON object of at most
    /// [`Limits::max_metadata`](field@crate::Limits::max_metadata) bytes. Default: none.
    pub fn metadata<M: Serialize + ?Sized>(mut self, metadata: &M) -> Self {
        self.request = self.request.metadata(metadata);
        self
    }

    /// Sets the request that the key stands for. The same key with a different request is refused
    /// with [`Error::FingerprintMismatch`]. Default: none.
    pub fn fingerprint<R: Serialize + ?Sized>(mut self, request: &R) -> Self {
        self.request = self.request.fingerprint(request);
        self
    }

    /// Sets the fingerprint of the request that the key stands for. See
    /// [`fingerprint`](Self::fingerprint).
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.request = self.request.fingerprint_hash(fingerprint);
        self
    }

    /// Sets the behaviour if the work has failed before. Default: [`OnFailed::Replay`].
    pub fn on_failed(mut self, policy: OnFailed) -> Self {
        self.request = self.request.on_failed(policy);
        self
    }

    /// Sets the behaviour if the last lease has lapsed without an outcome. Default:
    /// [`OnLapsed::TakeOver`].
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.request = self.request.on_lapsed(policy);
        self
    }

    /// Sets the maximum time to wait for a concurrent caller that runs the same work. Zero does not
    /// wait. Default: no limit.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = Some(timeout);
        self
    }

    /// Runs the work, waits for a concurrent caller that runs it, or replays its outcome.
    ///
    /// Blocks the current thread, and runs the work on it. Must not be called on a thread that
    /// drives futures; use [`run_async`](Self::run_async) there.
    ///
    /// The lease is renewed while the work runs. Long work should check [`Lease::is_lost`]
    /// regularly.
    ///
    /// # Errors
    ///
    /// [`OnceError`] contains the value or error that the work returned, if it ran in this call.
    /// - If the work returns an error, the failure is stored with the code [`ERRORED`], unless the
    ///   work has failed or released the lease itself.
    /// - If the result is too large or would not read back as a `T`, the failure [`RESULT_REFUSED`]
    ///   is stored instead.
    /// - A call from within the work of the same key would wait for itself. It is refused with
    ///   [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    ///
    /// # Panics
    ///
    /// Propagates a panic of the work, or of the `Serialize` or `Display` implementation of what it
    /// returned, after storing the failure [`PANICKED`].
    pub fn run<T, E>(self, work: impl FnOnce(&Lease) -> Result<T, E>) -> Result<Outcome<T>, OnceError<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: Display,
    {
        refuse_own_work(&self.engine.store, self.key)?;
        let (lease, waited) = match block_on(self.obtain())? {
            Obtained::Lease(lease, waited) => (lease, waited),
            Obtained::Replay(view, waited) => return replay(&view, waited),
        };
        deliver::run(self.engine, &lease, waited, work)
    }

    /// Runs the async work, waits for a concurrent caller that runs it, or replays its outcome.
    /// When the lease is lost, the work's future is dropped.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run). If the lease is lost while the work runs, the error is
    /// [`OnceError::Lost`] with `None`.
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Cancellation safety
    ///
    /// Dropping the returned future drops the work and abandons the lease, which then lapses
    /// immediately. The next caller's [`OnLapsed`] policy applies.
    pub async fn run_async<T, E, F>(self, work: F) -> Result<Outcome<T>, OnceError<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: Display,
        F: AsyncFnOnce(&Lease) -> Result<T, E>,
    {
        refuse_own_work(&self.engine.store, self.key)?;
        let (lease, waited) = match self.obtain().await? {
            Obtained::Lease(lease, waited) => (lease, waited),
            Obtained::Replay(view, waited) => return replay(&view, waited),
        };
        deliver::run_async(self.engine, &lease, waited, work).await
    }

    async fn obtain<T, E>(&self) -> Result<Obtained, OnceError<T, E>> {
        let engine = self.engine;
        let deadline = self.wait_timeout.map(|timeout| engine.clock.now().saturating_add(timeout));
        let mut waiter: Option<Waiter> = None;
        loop {
            let acquisition = self.request.clone().send().await;
            let waited = waiter.is_some();
            let in_progress = match Obtained::of(acquisition?, waited)? {
                Answered::Obtained(obtained) => return Ok(obtained),
                Answered::InProgress(view) => view,
            };
            if self.wait_timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(OnceError::InProgress(in_progress));
            }
            let waiter = match &waiter {
                Some(waiter) => {
                    waiter.attempt_failed();
                    waiter
                }
                None => {
                    let key = Key::new(self.key).map_err(Error::from)?;
                    &*waiter.insert(Waiter::new(&engine.watches.waiters, &key, true))
                }
            };
            let outcome = async { Some(waiter.outcome(|reading| self.request.judge(reading)).await) };
            let outcome = match deadline {
                None => outcome.await,
                Some(at) => {
                    let timed_out = async {
                        engine.background.readers.sleep_until(at).await;
                        None
                    };
                    future::or(outcome, timed_out).await
                }
            };
            match outcome {
                // This caller may try to acquire the key.
                Some(None) => {}
                Some(Some(answer)) => match Obtained::of(answer?, true)? {
                    Answered::Obtained(obtained) => return Ok(obtained),
                    Answered::InProgress(view) => return Err(OnceError::InProgress(view)),
                },
                None => {
                    let latest =
                        waiter.last_reading(|reading| reading.as_ref().ok().and_then(View::of_snapshot));
                    return Err(OnceError::InProgress(latest.flatten().unwrap_or(in_progress)));
                }
            }
        }
    }
}

impl Obtained {
    fn of<T, E>(answer: Acquisition, waited: bool) -> Result<Answered, OnceError<T, E>> {
        match answer {
            Acquisition::Acquired(lease) => {
                Ok(Answered::Obtained(Self::Lease(Box::new(lease.keep_alive()), waited)))
            }
            Acquisition::Completed(view) => Ok(Answered::Obtained(Self::Replay(view, waited))),
            Acquisition::Failed(view) => Err(OnceError::Failed(view)),
            Acquisition::InDoubt(view) => Err(OnceError::InDoubt(view)),
            Acquisition::InProgress(view) => Ok(Answered::InProgress(view)),
        }
    }
}

fn replay<T: DeserializeOwned, E>(view: &View, waited: bool) -> Result<Outcome<T>, OnceError<T, E>> {
    let details = Details { replayed: true, waited, late: false, attempt: view.attempt(), after: None };
    Ok(Outcome { value: view.result()?, details })
}
