//! Running a piece of work, and storing what it came to.

use std::any::Any;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::time::Duration;

use futures_lite::{FutureExt, future};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::{How, OnceError, Outcome};
use crate::api::lease::Lease;
use crate::api::within::Working;
use crate::data::error::{Error, ErrorKind};
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
/// The error code of work whose result could not be stored: too large, or not to be serialized.
pub const RESULT_REFUSED: &str = "result_refused";

/// What the engine itself notes about a failure is kept up to this many bytes.
const MAX_DETAIL: usize = 4096;
/// How often an outcome is sent while the store does not answer, and the first pause; each is twice the one before.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

type Panic = Box<dyn Any + Send>;
type Delivered<T, E> = Result<Outcome<T>, OnceError<T, E>>;

/// Runs the work and stores what it came to.
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

/// The same for async work, which is dropped when the lease is lost.
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
    // Whatever of the caller's own runs is inside: the call that makes the future, its polls, and its drop.
    let raced = AssertUnwindSafe(async {
        let mut work = pin!(async { Some(work(lease).await) });
        let work = poll_fn(|context| {
            let _working = Working::on(lease);
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

/// Calls the caller's code as a part of the work of `lease`.
fn guarded<R>(lease: &Lease, call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(|| {
        let _working = Working::on(lease);
        call()
    }))
}

/// Stores what the work came to.
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
    let limit = engine.settings.max_result;
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
        // The work was done: running it again would not make its result any smaller.
        (Ok(Made::Refused(error)), Ok(value)) => {
            Err(match fail(engine, lease, RESULT_REFUSED, Some(&error.to_string())).await {
                Ok(_) => OnceError::Refused { value, error },
                Err(error) => undelivered(Ok(value), error),
            })
        }
        (Ok(Made::Failure(text)), Err(error)) => Err(match fail(engine, lease, ERRORED, Some(&text)).await {
            // The work has failed the lease itself, with a code of its own.
            Ok(_) | Err(Error::Finished { state: State::Failed }) => OnceError::Work(error),
            Err(problem) => undelivered(Err(error), problem),
        }),
        (Err(panic), work) => {
            // Not while the panic goes on: a second one would end the process.
            let dropped = guarded(lease, || drop(work));
            let ended = panicked(engine, lease, panic).await;
            drop(dropped);
            Err(ended)
        }
        (Ok(_), work) => Err(undelivered(work, Error::unexpected())),
    }
}

/// What is to be stored.
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
    let after = lease.previous_grant().map(|former| former.ended());
    Outcome {
        value,
        how: How { replayed: false, waited, late: ack.is_late(), attempt: lease.attempt(), after },
    }
}

/// Why what the work returned does not count.
fn undelivered<T, E>(work: Result<T, E>, error: Error) -> OnceError<T, E> {
    match error {
        Error::Released => OnceError::Released(work),
        Error::Finished { state } => OnceError::Overruled { state, work },
        Error::NotHolder { .. } | Error::NotFound => OnceError::Lost(Some(work)),
        error => OnceError::Unrecorded { work, error },
    }
}

/// Stores that the caller's code panicked, and lets the panic go on.
async fn panicked<T, E>(engine: &Shared, lease: &Lease, panic: Panic) -> OnceError<T, E> {
    match fail(engine, lease, PANICKED, None).await {
        // The work has settled the lease itself before it panicked.
        Ok(_) | Err(Error::Finished { .. } | Error::Released) => {}
        Err(error) => {
            tracing::warn!(key = %lease.key(), %error, "that the work panicked could not be stored");
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

/// Sends an outcome, again where the store does not answer.
async fn send<'a>(engine: &Shared, act: impl Fn() -> Pending<'a, Result<Ack, Error>>) -> Result<Ack, Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
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
