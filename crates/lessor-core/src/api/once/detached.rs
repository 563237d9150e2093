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

use super::deliver::{Delivered, Delivery, Panic};
use super::hooks::Hooks;
use super::outcome::OnceError;
use crate::api::lease::Lease;
use crate::data::store_error::StoreError;
use crate::run::observer::event::Event;

/// A piece of work with the storing of its outcome, to be given to an executor. See
/// [`Once::run_detached`](crate::Once::run_detached). Dropping it before its end abandons the
/// lease, or releases it if the work has not begun.
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
    delivery: Delivery<T, E>,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> (Option<Hooks<T, E>>, Delivered<T, E>)
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Serialize + DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let mut caller = Caller { delivery, sender: Some(sender) };
    spawn(DetachedTask(Box::pin(async move {
        let delivered = AssertUnwindSafe(caller.delivery.run_future(work)).catch_unwind().await;
        caller.send(delivered);
    })));
    match receiver.await {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(oneshot::Canceled) => (None, Err(OnceError::Lost(None))),
    }
}

/// The end of a task, or the panic of the work. The hooks are missing if the task was dropped.
type Ended<T, E> = Result<(Option<Hooks<T, E>>, Delivered<T, E>), Panic>;

/// Sends the outcome to the caller, also if the executor drops the task.
struct Caller<T, E> {
    delivery: Delivery<T, E>,
    sender: Option<oneshot::Sender<Ended<T, E>>>,
}

impl<T, E> Caller<T, E> {
    fn send(&mut self, delivered: Result<Delivered<T, E>, Panic>) {
        let Some(sender) = self.sender.take() else { return };
        let hooks = std::mem::take(&mut self.delivery.hooks);
        match sender.send(delivered.map(|delivered| (Some(hooks), delivered))) {
            Ok(()) => {}
            // The caller is gone. A panic of the work is that of the task.
            Err(Err(panic)) => resume_unwind(panic),
            Err(Ok((_, delivered))) => report_unstored(&self.delivery.lease, &delivered),
        }
    }
}

impl<T, E> Drop for Caller<T, E> {
    fn drop(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let error = match self.delivery.returned.take() {
            Some(work) => {
                let reason = "the executor dropped the task while its outcome was being stored";
                OnceError::Unrecorded { work, error: StoreError::indeterminate(reason).into() }
            }
            None => OnceError::Lost(None),
        };
        // The caller is gone if this fails.
        let _ = sender.send(Ok((None, Err(error))));
    }
}

/// Reports an outcome that is neither stored nor returned to a caller.
fn report_unstored<T, E>(lease: &Lease, delivered: &Delivered<T, E>) {
    let error: &dyn fmt::Display = match delivered {
        Err(OnceError::Unrecorded { error, .. }) => error,
        Err(OnceError::Lost(_)) => &"the lease was lost",
        Err(OnceError::Overruled { .. }) => &"the key has another outcome",
        _ => return,
    };
    let what = "the outcome of detached work whose caller is gone";
    lease.engine().record(&Event::NotStored { key: lease.stored_key().into(), what, error });
}
