//! The whole thing in one call: run a piece of work once, and give everyone its outcome.

use std::any::Any;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use futures_lite::{FutureExt, future};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::acquire::{AcquireRequest, Acquisition};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::key::Key;
use crate::lease::Lease;
use crate::machine::Ack;
use crate::pending::block_on;
use crate::record::Ended;
use crate::settings::{OnFailed, OnLapsed};
use crate::view::View;
use crate::wait::Waiter;

/// The error code of work that panicked.
pub const PANICKED: &str = "panicked";
/// The error code of work that returned an error.
pub const ERRORED: &str = "error";
/// The error code of work whose result could not be stored: too large, or not to be serialized.
pub const RESULT_REFUSED: &str = "result_refused";

/// An error's text is kept up to this many bytes.
const MAX_DETAIL: usize = 4096;
/// How often a completion is tried while the store does not answer, and the first pause; each is twice the one before.
const COMPLETIONS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A piece of work to be run once. Made by [`Engine::once`]; nothing happens until [`run`](Self::run) or
/// [`run_async`](Self::run_async).
#[derive(Debug)]
#[must_use = "nothing happens until `run` or `run_async`"]
pub struct Once<'a> {
    engine: &'a Engine,
    key: &'a str,
    request: AcquireRequest<'a>,
    patience: Option<Duration>,
}

/// What became of the work, for one caller of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome<T> {
    value: T,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct How {
    replayed: bool,
    waited: bool,
    late: bool,
    attempt: u32,
    after: Option<Ended>,
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError<E> {
    /// The work ran now and returned this error, which is kept and replayed under the code `error`.
    #[error("the work failed: {0}")]
    Work(E),
    /// The work failed before.
    #[error("the work failed before, with code {:?}", .0.error_code().unwrap_or_default())]
    Failed(View),
    /// Somebody else is still at it, and the caller did not want to wait longer.
    #[error("the work is still in progress elsewhere")]
    InProgress(View),
    /// A holder vanished in the middle; an operator has to resolve it.
    #[error("a former holder vanished in the middle of the work; look at its effects, then resolve the key")]
    InDoubt(View),
    /// The lease was lost while the work ran: somebody else may be doing it again, and this outcome does not count.
    #[error("the lease was lost while the work ran, so its outcome does not count")]
    Lost,
    /// The work was done, but its outcome could not be stored: it may be done again.
    #[error("the work was done, but its outcome could not be stored: {0}")]
    Unrecorded(#[source] Error),
    /// The key could not be acquired, or its result not be read.
    #[error(transparent)]
    Engine(#[from] Error),
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
    pub(crate) fn new(engine: &'a Engine, key: &'a str) -> Self {
        Self { engine, key, request: engine.acquire(key), patience: None }
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

    /// How long to wait for a twin that is at the same work. Default: as long as it takes. Zero does not wait.
    pub fn wait_at_most(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Runs the work, or waits for the twin that runs it, or replays what it came to. Parks this thread meanwhile: on a
    /// thread that drives futures, use [`run_async`](Self::run_async).
    ///
    /// The lease is renewed while the work runs; long work should look at [`Lease::is_lost`] now and then. If it returns an
    /// error, the failure is stored with the code `error`, unless the work itself has failed, cancelled or released the lease.
    /// A panic is stored as the failure `panicked` and goes on.
    pub fn run<T, E>(self, work: impl FnOnce(&Lease) -> Result<T, E>) -> Result<Outcome<T>, OnceError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Display,
    {
        let (lease, waited) = match block_on(self.obtain())? {
            Obtained::Lease(lease, waited) => (lease, waited),
            Obtained::Replay(view, waited) => return replay(&view, waited),
        };
        let worked = catch_unwind(AssertUnwindSafe(|| work(&lease)));
        block_on(deliver(self.engine, &lease, worked, waited))
    }

    /// The same for async work. It is cancelled, by dropping it, when the lease is lost.
    ///
    /// Dropping the returned future drops the work and gives the lease up.
    pub async fn run_async<T, E, F>(self, work: F) -> Result<Outcome<T>, OnceError<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Display,
        F: AsyncFnOnce(&Lease) -> Result<T, E>,
    {
        let (lease, waited) = match self.obtain().await? {
            Obtained::Lease(lease, waited) => (lease, waited),
            Obtained::Replay(view, waited) => return replay(&view, waited),
        };
        let work = async { Some(AssertUnwindSafe(work(&lease)).catch_unwind().await) };
        let lost = async {
            lease.lost().await;
            None
        };
        match future::or(work, lost).await {
            Some(worked) => deliver(self.engine, &lease, worked, waited).await,
            None => Err(OnceError::Lost),
        }
    }

    async fn obtain<E>(&self) -> Result<Obtained, OnceError<E>> {
        let shared = &self.engine.shared;
        let give_up_at = self.patience.map(|patience| shared.clock.now().saturating_add(patience));
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
                    waiting.tried();
                    waiting
                }
                None => {
                    let key = Key::new(self.key).map_err(Error::from)?;
                    &*waiter.insert(Waiter::new(&shared.watches.waiting, &key, true))
                }
            };
            let outcome = async { Some(waiting.outcome(|reading| self.request.judge(reading)).await) };
            let outcome = match give_up_at {
                None => outcome.await,
                Some(at) => {
                    let patience = async {
                        shared.background.readers.sleep_until(at).await;
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
    fn of<E>(answer: Acquisition, waited: bool) -> Result<Answered, OnceError<E>> {
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

fn replay<T: DeserializeOwned, E>(view: &View, waited: bool) -> Result<Outcome<T>, OnceError<E>> {
    let how = How { replayed: true, waited, late: false, attempt: view.attempt(), after: None };
    Ok(Outcome { value: view.result()?, how })
}

/// Stores what the work came to.
async fn deliver<T: Serialize, E: Display>(
    engine: &Engine,
    lease: &Lease,
    worked: Result<Result<T, E>, Box<dyn Any + Send>>,
    waited: bool,
) -> Result<Outcome<T>, OnceError<E>> {
    match worked {
        Ok(Ok(value)) => {
            let ack = complete(engine, lease, &value).await?;
            let after = lease.former().map(|former| former.ended());
            let how = How { replayed: false, waited, late: ack.is_late(), attempt: lease.attempt(), after };
            Ok(Outcome { value, how })
        }
        Ok(Err(error)) => {
            fail(lease, ERRORED, Some(&error.to_string())).await;
            Err(OnceError::Work(error))
        }
        Err(panic) => {
            fail(lease, PANICKED, None).await;
            resume_unwind(panic)
        }
    }
}

async fn complete<T: Serialize, E>(engine: &Engine, lease: &Lease, value: &T) -> Result<Ack, OnceError<E>> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        let error = match lease.complete(value).await {
            Ok(ack) => return Ok(ack),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Indeterminate if tries < COMPLETIONS => {
                if let Ok(now) = engine.now().await {
                    engine.shared.background.leases.sleep_until(now.saturating_add(pause)).await;
                }
                pause *= 2;
                tries += 1;
            }
            ErrorKind::Lost | ErrorKind::NotFound => return Err(OnceError::Lost),
            ErrorKind::Invalid => {
                // The work was done: running it again would not make its result any smaller.
                fail(lease, RESULT_REFUSED, Some(&error.to_string())).await;
                return Err(OnceError::Unrecorded(error));
            }
            _ => return Err(OnceError::Unrecorded(error)),
        }
    }
}

/// Stores a failure. The caller learns of the work's own error in any case, so this one is only logged.
async fn fail(lease: &Lease, code: &str, detail: Option<&str>) {
    let failed = match detail {
        Some(detail) => lease.fail_with(code, shorten(detail)).await,
        None => lease.fail(code).await,
    };
    match failed {
        // The work has settled the lease itself.
        Ok(_) | Err(Error::Finished { .. } | Error::Released) => {}
        Err(error) => tracing::warn!(key = %lease.key(), %error, "a failure could not be stored"),
    }
}

fn shorten(detail: &str) -> &str {
    detail.get(..detail.floor_char_boundary(MAX_DETAIL)).unwrap_or_default()
}

impl<T> Outcome<T> {
    /// The value that the work returned.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value that the work returned.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The work was run by somebody else, or earlier; this is its result.
    pub fn is_replay(&self) -> bool {
        self.how.replayed
    }

    /// A twin was at the same work, and this caller waited for it.
    pub fn has_waited(&self) -> bool {
        self.how.waited
    }

    /// The work ended after its lease had lapsed, but before anybody else began: it counts.
    pub fn is_late(&self) -> bool {
        self.how.late
    }

    /// How many grants it took.
    pub fn attempt(&self) -> u32 {
        self.how.attempt
    }

    /// If this caller ran the work and there was a grant before: how that one ended.
    pub fn took_over_after(&self) -> Option<Ended> {
        self.how.after
    }
}

/// The value is left out: results do not belong into logs.
impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("how", &self.how).finish_non_exhaustive()
    }
}
