//! [`Retrying`], which runs failed work again.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_lite::future;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::deliver::Delivered;
use super::detached::{self, DetachedTask};
use super::hooks::Hooks;
use super::outcome::{OnceError, Outcome};
use super::request::{Begun, Request};
use crate::api::lease::Lease;
use crate::data::time::Timestamp;
use crate::sync::pending::block_on;

/// A request that waits through the backoffs of failed work and runs it again. Created by
/// [`Once::retry_until`](crate::Once::retry_until).
///
/// The work is repeated while its failures allow another attempt: by their
/// [class](crate::FailureClass::retry), or by this caller's
/// [`OnFailed`](crate::OnFailed) policy. Each attempt is another grant, with a new lease. A failure
/// is returned without waiting if its backoff ends after the deadline. The deadline also limits the
/// wait for a concurrent caller. It does not interrupt work that is running.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// use lessor_core::{Backoff, Engine, FailureClass, Message};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let mut runs = 0;
/// let outcome = engine
///     .once("invoice-42")
///     .classify(|_: &Message| FailureClass::retry(5, Backoff::fixed(Duration::from_millis(10))))
///     .retry_until(Instant::now() + Duration::from_secs(60))
///     .run(|_lease| {
///         runs += 1;
///         if runs < 3 { Err(Message::new("overloaded")) } else { Ok("charged".to_owned()) }
///     })
///     .unwrap();
/// assert_eq!((outcome.attempt(), runs), (3, 3));
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[must_use = "nothing happens until `run` or another of its forms is called"]
pub struct Retrying<T, E> {
    request: Request<T, E>,
    deadline: Instant,
}

impl<T, E> Retrying<T, E> {
    pub(super) fn new(request: Request<T, E>, deadline: Instant) -> Self {
        Self { request, deadline }
    }

    fn deadline(&self) -> Timestamp {
        self.request.call.store_time(self.deadline)
    }

    /// Returns the outcome of an attempt, or `None` if another attempt follows.
    fn ended(
        &mut self,
        deadline: Timestamp,
        hooks: Option<Hooks<T, E>>,
        delivered: Delivered<T, E>,
    ) -> Option<Delivered<T, E>> {
        let now = self.request.call.engine.clock.now();
        match (&delivered, hooks) {
            (Err(OnceError::Work { retry_after: Some(after), .. }), Some(hooks))
                if now.saturating_add(*after) < deadline =>
            {
                self.request.hooks = hooks;
                None
            }
            _ => Some(delivered),
        }
    }
}

impl<T, E> Retrying<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// Runs the work on the current thread, which is blocked during backoffs. See
    /// [`Once::run`](crate::Once::run).
    ///
    /// # Errors
    ///
    /// As for [`Once::run`](crate::Once::run). [`OnceError::Work`] is the failure of the last
    /// attempt.
    ///
    /// # Panics
    ///
    /// As for [`Once::run`](crate::Once::run).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    /// let deadline = std::time::Instant::now() + Duration::from_secs(60);
    /// let job = engine.once("job").classify(retry).retry_until(deadline);
    /// let job = job.run(|lease| {
    ///     if lease.attempt() < 3 { Err(Message::new("busy")) } else { Ok(lease.attempt()) }
    /// });
    /// assert_eq!(job.unwrap().into_value(), 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn run(
        mut self,
        mut work: impl FnMut(&Lease) -> Result<T, E>,
    ) -> Result<Outcome<T>, OnceError<T, E>> {
        let deadline = self.deadline();
        loop {
            match block_on(self.request.begin(Some(deadline)))? {
                Begun::Work(mut delivery) => {
                    let delivered = delivery.run(&mut work);
                    if let Some(ended) = self.ended(deadline, Some(delivery.hooks), delivered) {
                        return ended;
                    }
                }
                Begun::Stored(stored) => return stored,
            }
        }
    }

    /// Runs async work. See [`Once::run_async`](crate::Once::run_async).
    ///
    /// # Errors
    ///
    /// As for [`Once::run_async`](crate::Once::run_async). [`OnceError::Work`] is the failure of
    /// the last attempt.
    ///
    /// # Panics
    ///
    /// As for [`Once::run`](crate::Once::run).
    ///
    /// # Cancellation safety
    ///
    /// As for [`Once::run_async`](crate::Once::run_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    /// let deadline = std::time::Instant::now() + Duration::from_secs(60);
    /// let job = engine.once("job").classify(retry).retry_until(deadline);
    /// let job = job.run_async(async |lease| {
    ///     if lease.attempt() < 3 { Err(Message::new("busy")) } else { Ok(lease.attempt()) }
    /// });
    /// assert_eq!(job.await.unwrap().into_value(), 3);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub async fn run_async<F>(mut self, mut work: F) -> Result<Outcome<T>, OnceError<T, E>>
    where
        F: AsyncFnMut(&Lease) -> Result<T, E>,
    {
        let deadline = self.deadline();
        loop {
            match self.request.begin(Some(deadline)).await? {
                Begun::Work(mut delivery) => {
                    let lease = delivery.lease.share();
                    let delivered = delivery.run_future(async { work(&lease).await }).await;
                    if let Some(ended) = self.ended(deadline, Some(delivery.hooks), delivered) {
                        return ended;
                    }
                    // A backoff may be zero, and other tasks must run.
                    future::yield_now().await;
                }
                Begun::Stored(stored) => return stored,
            }
        }
    }

    /// Runs async work, in a future that is `Send`. See
    /// [`Once::run_future`](crate::Once::run_future).
    ///
    /// # Errors
    ///
    /// As for [`Once::run_async`](crate::Once::run_async). [`OnceError::Work`] is the failure of
    /// the last attempt.
    ///
    /// # Panics
    ///
    /// As for [`Once::run`](crate::Once::run).
    ///
    /// # Cancellation safety
    ///
    /// As for [`Once::run_async`](crate::Once::run_async).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    /// let deadline = std::time::Instant::now() + Duration::from_secs(60);
    /// let job = engine.once("job").classify(retry).retry_until(deadline);
    /// let job = tokio::spawn(job.run_future(async |lease| {
    ///     if lease.attempt() < 3 { Err(Message::new("busy")) } else { Ok(lease.attempt()) }
    /// }));
    /// assert_eq!(job.await.unwrap().unwrap().into_value(), 3);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[expect(clippy::manual_async_fn, reason = "the signature promises a future that is `Send`")]
    pub fn run_future<F, Fut>(
        mut self,
        mut work: F,
    ) -> impl Future<Output = Result<Outcome<T>, OnceError<T, E>>> + Send
    where
        T: Send,
        E: Send,
        F: FnMut(Arc<Lease>) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        async move {
            let deadline = self.deadline();
            loop {
                match self.request.begin(Some(deadline)).await? {
                    Begun::Work(mut delivery) => {
                        let lease = delivery.lease.share();
                        let delivered = delivery.run_future(async { work(lease).await }).await;
                        if let Some(ended) = self.ended(deadline, Some(delivery.hooks), delivered) {
                            return ended;
                        }
                        // A backoff may be zero, and other tasks must run.
                        future::yield_now().await;
                    }
                    Begun::Stored(stored) => return stored,
                }
            }
        }
    }

    /// Runs each attempt as a separate task, which continues when the returned future is dropped.
    /// See [`Once::run_detached`](crate::Once::run_detached).
    ///
    /// # Errors
    ///
    /// As for [`Once::run_detached`](crate::Once::run_detached). [`OnceError::Work`] is the failure
    /// of the last attempt.
    ///
    /// # Panics
    ///
    /// As for [`Once::run_detached`](crate::Once::run_detached).
    ///
    /// # Cancellation safety
    ///
    /// As for [`Once::run_detached`](crate::Once::run_detached). After the returned future was
    /// dropped, the attempt that is running is the last one of this call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    /// let deadline = std::time::Instant::now() + Duration::from_secs(60);
    /// let job = engine.once("job").classify(retry).retry_until(deadline);
    /// let job = job.run_detached(|task| drop(tokio::spawn(task)), async |lease| {
    ///     if lease.attempt() < 3 { Err(Message::new("busy")) } else { Ok(lease.attempt()) }
    /// });
    /// assert_eq!(job.await.unwrap().into_value(), 3);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[expect(clippy::manual_async_fn, reason = "the signature promises a future that is `Send`")]
    pub fn run_detached<F, Fut>(
        mut self,
        mut spawn: impl FnMut(DetachedTask) + Send,
        work: F,
    ) -> impl Future<Output = Result<Outcome<T>, OnceError<T, E>>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(Arc<Lease>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            // Only the task of the current attempt locks it.
            let work = Arc::new(Mutex::new(work));
            let deadline = self.deadline();
            loop {
                match self.request.begin(Some(deadline)).await? {
                    Begun::Work(delivery) => {
                        let lease = delivery.lease.share();
                        let work = Arc::clone(&work);
                        let attempt = async move {
                            let future = (work.lock())(lease);
                            future.await
                        };
                        let (hooks, delivered) = detached::run(&mut spawn, delivery, attempt).await;
                        if let Some(ended) = self.ended(deadline, hooks, delivered) {
                            return ended;
                        }
                        // A backoff may be zero, and other tasks must run.
                        future::yield_now().await;
                    }
                    Begun::Stored(stored) => return stored,
                }
            }
        }
    }
}

impl<T, E> fmt::Debug for Retrying<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.debug("Retrying", f)
    }
}
