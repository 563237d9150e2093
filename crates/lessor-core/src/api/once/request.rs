//! A request with the types of its work.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::call::{Call, Obtained};
use super::deliver::Delivery;
use super::hooks::Hooks;
use super::outcome::{OnceError, Outcome, record_outcome};
use crate::data::time::Timestamp;
use crate::run::context::Handle;

pub(super) struct Request<T, E> {
    pub(super) call: Call,
    pub(super) hooks: Hooks<T, E>,
}

/// The step that follows from the state of the key.
pub(super) enum Begun<T, E> {
    /// The work has to run.
    Work(Delivery<T, E>),
    /// There is an outcome, or another reason not to run the work.
    Stored(Result<Outcome<T>, OnceError<T, E>>),
}

impl<T, E> Request<T, E> {
    pub(super) fn new(engine: &Arc<Handle>, key: &str) -> Self {
        Self { call: Call::new(engine, key), hooks: Hooks::default() }
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("call", &self.call).finish_non_exhaustive()
    }
}

impl<T, E> Request<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// Acquires the key. Without a lease, returns the stored outcome. A failure that can be retried
    /// is waited for if there is a deadline.
    pub(super) async fn begin(
        &mut self,
        deadline: Option<Timestamp>,
    ) -> Result<Begun<T, E>, OnceError<T, E>> {
        let call = &self.call;
        let span = call.span();
        // Wrapping a future takes time, so it is done only for a subscriber.
        let obtained = match span.is_disabled() {
            true => call.obtain(deadline).await?,
            false => call.obtain(deadline).instrument(span.clone()).await?,
        };
        let stored = match obtained {
            Obtained::Lease { lease, waited } => {
                span.record("lessor.token", lease.token().as_u64());
                span.record("lessor.attempt", lease.attempt());
                let (hooks, on_failed) = (std::mem::take(&mut self.hooks), call.terms.policy_on_failed());
                return Ok(Begun::Work(Delivery { lease, waited, hooks, on_failed, span, returned: None }));
            }
            Obtained::Completed { view, waited } => self.hooks.replay(&view, waited),
            Obtained::Failed(view) => Err(OnceError::of_failed(view)),
            Obtained::InProgress(view) => Err(OnceError::InProgress(view)),
            Obtained::InDoubt(view) => Err(OnceError::InDoubt { error: None, view: Some(view) }),
        };
        record_outcome(&span, &stored);
        Ok(Begun::Stored(stored))
    }
}
