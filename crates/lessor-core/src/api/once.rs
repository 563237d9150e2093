//! The whole thing in one call: run a piece of work once, and give everyone its outcome.

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
use outcome::How;
pub use outcome::{OnceError, Outcome};

/// A piece of work to be run once. Made by [`Engine::once`](crate::Engine::once); nothing happens until [`run`](Self::run) or
/// [`run_async`](Self::run_async).
#[derive(Debug)]
#[must_use = "nothing happens until `run` or `run_async`"]
pub struct Once<'a> {
    engine: &'a Arc<Handle>,
    key: &'a str,
    request: AcquireRequest<'a>,
    patience: Option<Duration>,
}

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
        Self { engine, key, request: AcquireRequest::new(engine, key), patience: None }
    }

    /// Length of the lease; it is renewed while the work runs, so this is how soon others may take over from a holder that
    /// died.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request = self.request.ttl(ttl);
        self
    }

    /// A label that observers see.
    pub fn holder(mut self, holder: &str) -> Self {
        self.request = self.request.holder(holder);
        self
    }

    /// A JSON object that observers see.
    pub fn metadata<M: Serialize + ?Sized>(mut self, metadata: &M) -> Self {
        self.request = self.request.metadata(metadata);
        self
    }

    /// The request that the key stands for: the same key with another one is refused.
    pub fn fingerprint<R: Serialize + ?Sized>(mut self, request: &R) -> Self {
        self.request = self.request.fingerprint(request);
        self
    }

    /// The same as [`fingerprint`](Self::fingerprint), for a hash that the caller made.
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.request = self.request.fingerprint_hash(fingerprint);
        self
    }

    /// What to do if the work failed before. Default [`OnFailed::Replay`].
    pub fn on_failed(mut self, policy: OnFailed) -> Self {
        self.request = self.request.on_failed(policy);
        self
    }

    /// What to do if the last holder's lease lapsed. Default [`OnLapsed::TakeOver`].
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.request = self.request.on_lapsed(policy);
        self
    }

    /// The time to wait for a concurrent caller that does the same work. Default: as long as it takes. Zero does not wait.
    pub fn wait_timeout(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Runs the work, waits for the concurrent caller that runs it, or replays its outcome. Parks this thread meanwhile: on a
    /// thread that drives futures, use [`run_async`](Self::run_async).
    ///
    /// The lease is renewed while the work runs; long work should look at [`Lease::is_lost`] now and then. If it returns an
    /// error, the failure is stored with the code `error`, unless the work itself has failed, cancelled or released the lease.
    /// A panic is stored as the failure `panicked` and goes on, also one in `Serialize` or `Display` of what the work returned.
    ///
    /// A result that is too large, or that would not read back as a `T`, is not stored; the failure `result_refused` is, and the
    /// caller gets the value in [`OnceError::Refused`]. Refused with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) is a call
    /// from inside of the work of the same key, which would wait for itself.
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

    /// The same for async work. It is cancelled, by dropping it, when the lease is lost.
    ///
    /// Dropping the returned future drops the work and gives the lease up.
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
        let give_up_at = self.patience.map(|patience| engine.clock.now().saturating_add(patience));
        let mut waiter: Option<Waiter> = None;
        loop {
            let asked = self.request.clone().send().await;
            let waited = waiter.is_some();
            let in_progress = match Obtained::of(asked?, waited)? {
                Answered::Obtained(obtained) => return Ok(obtained),
                Answered::InProgress(view) => view,
            };
            if self.patience.is_some_and(|patience| patience.is_zero()) {
                return Err(OnceError::InProgress(in_progress));
            }
            let waiting = match &waiter {
                Some(waiting) => {
                    waiting.attempt_failed();
                    waiting
                }
                None => {
                    let key = Key::new(self.key).map_err(Error::from)?;
                    &*waiter.insert(Waiter::new(&engine.watches.waiters, &key, true))
                }
            };
            let outcome = async { Some(waiting.outcome(|reading| self.request.judge(reading)).await) };
            let outcome = match give_up_at {
                None => outcome.await,
                Some(at) => {
                    let patience = async {
                        engine.background.readers.sleep_until(at).await;
                        None
                    };
                    future::or(outcome, patience).await
                }
            };
            match outcome {
                // It is this caller's turn to try.
                Some(None) => {}
                Some(Some(answer)) => match Obtained::of(answer?, true)? {
                    Answered::Obtained(obtained) => return Ok(obtained),
                    Answered::InProgress(view) => return Err(OnceError::InProgress(view)),
                },
                None => {
                    let seen = waiting.last_reading(|reading| reading.as_ref().ok().and_then(View::of_seen));
                    return Err(OnceError::InProgress(seen.flatten().unwrap_or(in_progress)));
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
    let how = How { replayed: true, waited, late: false, attempt: view.attempt(), after: None };
    Ok(Outcome { value: view.result()?, how })
}
