//! Runs a piece of work and stores its outcome.

use std::any::Any;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::time::Duration;

use futures_lite::{FutureExt, future};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::{Details, OnceError, Outcome};
use crate::api::lease::Lease;
use crate::api::within::Working;
use crate::data::error::Error;
use crate::data::error_kind::ErrorKind;
use crate::data::payload::Payload;
use crate::data::state::State;
use crate::data::time::Monotonic;
use crate::data::value::json_payload_that_reads_back;
use crate::rules::Ack;
use crate::run::context::Shared;
use crate::sync::pending::{Pending, block_on};

/// The error code of work that panicked.
pub const PANICKED: &str = "panicked";
/// The error code of work that returned an error.
pub const ERRORED: &str = "error";
/// The error code of work whose result could not be stored, because it was too large or would not
/// read back.
pub const RESULT_REFUSED: &str = "result_refused";

/// The maximum size of the error detail that the engine records, in bytes.
const MAX_DETAIL: usize = 4096;
/// The maximum number of attempts to send an outcome while the store does not answer.
const ATTEMPTS: u32 = 6;
/// The pause after the first attempt. Doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

type Panic = Box<dyn Any + Send>;
type Delivered<T, E> = Result<Outcome<T>, OnceError<T, E>>;

/// Runs the work and stores its outcome.
pub(super) fn run<T, E>(
    engine: &Shared,
    lease: &Lease,
    waited: bool,
    work: impl FnOnce(&Lease) -> Result<T, E>,
) -> Delivered<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Display,
{
    let worked = guarded(lease, || work(lease));
    block_on(deliver(engine, lease, worked, waited))
}

/// Runs async work and stores its outcome. The work is dropped when the lease is lost.
pub(super) async fn run_async<T, E>(
    engine: &Shared,
    lease: &Lease,
    waited: bool,
    work: impl AsyncFnOnce(&Lease) -> Result<T, E>,
) -> Delivered<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Display,
{
    // All of the caller's code runs inside: the call that creates the future, its polls, and its
    // drop.
    let raced = AssertUnwindSafe(async {
        let mut work = pin!(async { Some(work(lease).await) });
        let work = poll_fn(|context| {
            let _working = Working::on(lease.handle());
            work.as_mut().poll(context)
        });
        let lost = async {
            lease.lost().await;
            None
        };
        future::or(work, lost).await
    });
    match raced.catch_unwind().await {
        Ok(None) => Err(OnceError::Lost(None)),
        Ok(Some(worked)) => deliver(engine, lease, Ok(worked), waited).await,
        Err(panic) => deliver(engine, lease, Err(panic), waited).await,
    }
}

/// Runs the caller's code as part of the work of `lease`, and catches a panic.
fn guarded<R>(lease: &Lease, call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(|| {
        let _working = Working::on(lease.handle());
        call()
    }))
}

/// Stores the outcome of the work.
async fn deliver<T, E>(
    engine: &Shared,
    lease: &Lease,
    worked: Result<Result<T, E>, Panic>,
    waited: bool,
) -> Delivered<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Display,
{
    let work = match worked {
        Ok(work) => work,
        Err(panic) => return Err(panicked(engine, lease, panic).await),
    };
    let limit = engine.settings.limits.max_result;
    // Serialize, Deserialize and Display are the caller's code too.
    let made = guarded(lease, || match &work {
        Ok(value) => Made::of(json_payload_that_reads_back("result", value, limit)),
        Err(error) => Made::Failure(error.to_string()),
    });
    match (made, work) {
        (Ok(Made::Result(payload)), Ok(value)) => {
            match send(engine, || lease.complete_with(payload.clone())).await {
                Ok(ack) => Ok(outcome(lease, value, ack, waited)),
                Err(error) => Err(undelivered(Ok(value), error)),
            }
        }
        // The work was done. Another run would produce the same result.
        (Ok(Made::Refused(error)), Ok(value)) => {
            Err(match fail(engine, lease, RESULT_REFUSED, Some(&error.to_string())).await {
                Ok(_) => OnceError::Refused { value, error },
                Err(error) => undelivered(Ok(value), error),
            })
        }
        (Ok(Made::Failure(text)), Err(error)) => Err(match fail(engine, lease, ERRORED, Some(&text)).await {
            // The work has failed the lease itself, with another code.
            Ok(_) | Err(Error::Finished { state: State::Failed }) => OnceError::Work(error),
            Err(problem) => undelivered(Err(error), problem),
        }),
        (Err(panic), work) => {
            // Dropped before the panic is resumed, because a second panic would abort the process.
            let dropped = guarded(lease, || drop(work));
            let ended = panicked(engine, lease, panic).await;
            drop(dropped);
            Err(ended)
        }
        (Ok(_), work) => Err(undelivered(work, Error::unexpected())),
    }
}

/// The outcome to store.
enum Made {
    Result(Payload),
    Refused(Error),
    Failure(String),
}

impl Made {
    fn of(payload: Result<Payload, Error>) -> Self {
        payload.map_or_else(Self::Refused, Self::Result)
    }
}

fn outcome<T>(lease: &Lease, value: T, ack: Ack, waited: bool) -> Outcome<T> {
    let after = lease.previous_grant().map(|previous| previous.ended());
    let attempt = lease.attempt();
    Outcome { value, details: Details { replayed: false, waited, late: ack.is_late(), attempt, after } }
}

/// Returns the error for work whose outcome was not stored.
fn undelivered<T, E>(work: Result<T, E>, error: Error) -> OnceError<T, E> {
    match error {
        Error::Released => OnceError::Released(work),
        Error::Finished { state } => OnceError::Overruled { state, work },
        Error::NotHolder { .. } | Error::NotFound => OnceError::Lost(Some(work)),
        error => OnceError::Unrecorded { work, error },
    }
}

/// Stores that the caller's code panicked, and resumes the panic.
async fn panicked<T, E>(engine: &Shared, lease: &Lease, panic: Panic) -> OnceError<T, E> {
    match fail(engine, lease, PANICKED, None).await {
        // The work ended the lease itself before it panicked.
        Ok(_) | Err(Error::Finished { .. } | Error::Released) => {}
        Err(error) => {
            tracing::warn!(key = %lease.key(), %error, "the failure of work that panicked could not be stored");
        }
    }
    resume_unwind(panic)
}

async fn fail(
    engine: &Shared,
    lease: &Lease,
    code: &'static str,
    detail: Option<&str>,
) -> Result<Ack, Error> {
    send(engine, || lease.fail_for(code, detail.map(shorten))).await
}

/// Sends an outcome, and retries while the store does not answer.
async fn send(engine: &Shared, act: impl Fn() -> Pending<Result<Ack, Error>>) -> Result<Ack, Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match act().await {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Indeterminate) => {
                let at = Monotonic::now().saturating_add(pause);
                engine.background.leases.pause_until(at).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
    act().await
}

fn shorten(detail: &str) -> &str {
    detail.get(..detail.floor_char_boundary(MAX_DETAIL)).unwrap_or_default()
}
