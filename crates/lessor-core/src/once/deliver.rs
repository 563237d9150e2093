//! Storing what a piece of work came to.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use futures_lite::{FutureExt, future};
use serde::Serialize;

use super::outcome::{How, OnceError, Outcome};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::lease::Lease;
use crate::machine::Ack;
use crate::pending::block_on;

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

/// Runs the work and stores what it came to.
pub(super) fn run<T: Serialize, E: Display>(
    engine: &Engine,
    lease: &Lease,
    waited: bool,
    work: impl FnOnce(&Lease) -> Result<T, E>,
) -> Result<Outcome<T>, OnceError<E>> {
    let worked = catch_unwind(AssertUnwindSafe(|| work(lease)));
    block_on(deliver(engine, lease, worked, waited))
}

/// The same for async work, which is dropped when the lease is lost.
pub(super) async fn run_async<T: Serialize, E: Display>(
    engine: &Engine,
    lease: &Lease,
    waited: bool,
    work: impl AsyncFnOnce(&Lease) -> Result<T, E>,
) -> Result<Outcome<T>, OnceError<E>> {
    let work = async { Some(AssertUnwindSafe(work(lease)).catch_unwind().await) };
    let lost = async {
        lease.lost().await;
        None
    };
    match future::or(work, lost).await {
        Some(worked) => deliver(engine, lease, worked, waited).await,
        None => Err(OnceError::Lost),
    }
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
