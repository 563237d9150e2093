//! Work that continues when its caller is dropped.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_lite::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::deliver::{Delivered, Delivery};
use super::hooks::Hooks;
use super::outcome::OnceError;
use crate::api::lease::Lease;

/// A piece of work with the storing of its outcome, to be given to an executor. See
/// [`Once::run_detached`](crate::Once::run_detached). Dropping it before its end abandons the
/// lease.
#[must_use = "the work does not run until the task is given to an executor"]
pub struct DetachedTask(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for DetachedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for DetachedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DetachedTask")
    }
}

/// Runs the work in a task, and waits for its outcome. Also returns the caller's functions, unless
/// the executor dropped the task.
pub(super) async fn run<T, E>(
    spawn: impl FnOnce(DetachedTask),
    mut delivery: Delivery<T, E>,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> (Option<Hooks<T, E>>, Delivered<T, E>)
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Serialize + DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    spawn(DetachedTask(Box::pin(async move {
        let delivered = AssertUnwindSafe(delivery.run_future(work)).catch_unwind().await;
        let ended = delivered.map(|delivered| (delivery.hooks, delivered));
        match sender.send(ended) {
            Ok(()) => {}
            // The caller is gone. A panic of the work is that of the task.
            Err(Err(panic)) => resume_unwind(panic),
            Err(Ok((_, delivered))) => report_unstored(&delivery.lease, &delivered),
        }
    })));
    match receiver.await {
        Ok(Ok((hooks, delivered))) => (Some(hooks), delivered),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(oneshot::Canceled) => (None, Err(OnceError::Lost(None))),
    }
}

/// Reports an outcome that is neither stored nor returned to a caller.
fn report_unstored<T, E>(lease: &Lease, delivered: &Delivered<T, E>) {
    let (key, reason) = match delivered {
        Err(OnceError::Unrecorded { error, .. }) => (lease.key(), error.to_string()),
        Err(OnceError::Lost(_)) => (lease.key(), "the lease was lost".to_owned()),
        Err(OnceError::Overruled { state, .. }) => (lease.key(), format!("the key is {state} already")),
        _ => return,
    };
    tracing::warn!(%key, reason, "the outcome of detached work is not stored, and its caller is gone");
}
