//! Acquires the key for [`Once`](crate::Once), or waits for its outcome.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use tracing::Span;

use super::deliver::Held;
use crate::api::acquire::AcquireRequest;
use crate::api::acquire::answer::Acquisition;
use crate::api::lease::Lease;
use crate::api::terms::Terms;
use crate::api::within::refuse_own_work;
use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::time::{Timestamp, time_until};
use crate::data::view::View;
use crate::rules::settings::check_stall;
use crate::run::context::Handle;
use crate::run::wait::{Purpose, Waiter};

/// The part of a request that does not depend on the types of the work.
pub(super) struct Call {
    pub(super) engine: Arc<Handle>,
    /// `None` if the key is invalid, which `terms` then reports.
    key: Option<Key>,
    pub(super) terms: Terms,
    pub(super) wait_timeout: Option<Duration>,
    stall_after: Option<Duration>,
}

/// The state of the key, once the caller does not have to wait any more. `waited` is whether it
/// waited for a concurrent caller.
pub(super) enum Obtained {
    Lease { lease: Held, waited: bool },
    Completed { view: View, waited: bool },
    Failed(View),
    InProgress(View),
    InDoubt(View),
}

impl Call {
    pub(super) fn new(engine: &Arc<Handle>, key: &str) -> Self {
        let mut terms = Terms::new(&engine.settings.limits);
        let key = engine.key(key).map_err(|error| terms.refuse(error.into())).ok();
        Self { engine: Arc::clone(engine), key, terms, wait_timeout: None, stall_after: None }
    }

    pub(super) fn stall_after(&mut self, stall_after: Duration) {
        match check_stall(stall_after) {
            Ok(stall_after) => self.stall_after = Some(stall_after),
            Err(error) => self.terms.refuse(error),
        }
    }

    /// Returns a span of `tracing` for the call.
    pub(super) fn span(&self) -> Span {
        match &self.key {
            Some(key) => self.engine.observer.once_span(key),
            None => Span::none(),
        }
    }

    /// Returns the instant as a time of the store.
    pub(super) fn store_time(&self, at: Instant) -> Timestamp {
        self.engine.clock.now().saturating_add(time_until(at))
    }

    /// Acquires the key, or waits until another caller has finished the work. With a deadline, also
    /// waits until a failure can be retried.
    pub(super) async fn obtain(&self, deadline: Option<Timestamp>) -> Result<Obtained, Error> {
        self.terms.check()?;
        let Some(key) = &self.key else { return Err(Error::unexpected()) };
        refuse_own_work(&self.engine.store, key)?;
        let mut wait_until = self.wait_until(deadline);
        let mut waiter = None;
        let mut waited = false;
        let mut answer = self.request(key).send().await?;
        loop {
            answer = match answer {
                Acquisition::Acquired(lease) => {
                    return Ok(Obtained::Lease { lease: Held::new(self.keep_alive(lease)), waited });
                }
                Acquisition::Completed(view) => return Ok(Obtained::Completed { view, waited }),
                Acquisition::InDoubt(view) => return Ok(Obtained::InDoubt(view)),
                Acquisition::Failed(view) => {
                    // The key is offered to other waiters in the meantime.
                    waiter = None;
                    match self.retry_at(&view).filter(|at| deadline.is_some_and(|deadline| *at < deadline)) {
                        Some(at) => self.engine.background.readers.sleep_until(at).await,
                        None => return Ok(Obtained::Failed(view)),
                    }
                    // A backoff is not a wait for another caller.
                    wait_until = self.wait_until(deadline);
                    self.request(key).send().await?
                }
                Acquisition::InProgress(view) if self.wait_timeout.is_some_and(|limit| limit.is_zero()) => {
                    return Ok(Obtained::InProgress(view));
                }
                Acquisition::InProgress(view) => {
                    waited = true;
                    match self.wait(key, &mut waiter, wait_until).await? {
                        Waited::Answer(answer) => answer,
                        Waited::MayTry => self.request(key).send().await?,
                        Waited::TimedOut(latest) => {
                            return Ok(Obtained::InProgress(latest.unwrap_or(view)));
                        }
                    }
                }
            }
        }
    }

    /// Returns the end of a wait for another caller that begins now.
    fn wait_until(&self, deadline: Option<Timestamp>) -> Option<Timestamp> {
        let timeout = self.wait_timeout.map(|timeout| self.engine.clock.now().saturating_add(timeout));
        [timeout, deadline].into_iter().flatten().min()
    }

    /// Waits for an answer, or for an offer to acquire the key.
    async fn wait(
        &self,
        key: &Key,
        waiter: &mut Option<Waiter>,
        until: Option<Timestamp>,
    ) -> Result<Waited, Error> {
        let waiter = match waiter {
            Some(waiter) => {
                waiter.attempt_failed();
                &*waiter
            }
            None => &*waiter.insert(Waiter::new(&self.engine.watches.waiters, key, Purpose::Acquire)),
        };
        let request = self.request(key);
        let outcome = async {
            match waiter.outcome(|reading| request.judge(reading)).await {
                Some(answer) => answer.map(Waited::Answer),
                None => Ok(Waited::MayTry),
            }
        };
        let Some(until) = until else { return outcome.await };
        let timed_out = async {
            self.engine.background.readers.sleep_until(until).await;
            let latest = waiter.last_reading(|reading| reading.as_ref().ok().and_then(View::of_snapshot));
            Ok(Waited::TimedOut(latest.flatten()))
        };
        future::or(outcome, timed_out).await
    }

    fn request<'a>(&'a self, key: &'a Key) -> AcquireRequest<'a> {
        AcquireRequest::with_terms(&self.engine, key.name(), self.terms.clone())
    }

    fn keep_alive(&self, lease: Lease) -> Lease {
        match self.stall_after {
            Some(stall_after) => lease.keep_alive_while_progressing(stall_after),
            None => lease.keep_alive(),
        }
    }

    /// Returns the time from which the failed work can be retried.
    fn retry_at(&self, view: &View) -> Option<Timestamp> {
        /// The minimum pause, in case the store's clock is behind the engine's estimate of it.
        const PAUSE: Duration = Duration::from_millis(1);
        let left = view.retry_in()?.max(PAUSE);
        Some(self.engine.clock.now().saturating_add(left))
    }
}

/// The end of a wait.
enum Waited {
    Answer(Acquisition),
    /// The caller may try to acquire the key.
    MayTry,
    /// The time is over. Contains the latest reading, if there is one.
    TimedOut(Option<View>),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.key)
            .field("wait_timeout", &self.wait_timeout)
            .field("stall_after", &self.stall_after)
            .finish_non_exhaustive()
    }
}
