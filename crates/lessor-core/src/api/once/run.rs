//! The forms in which a request is run.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Once;
use super::detached::{self, DetachedTask};
use super::outcome::{OnceError, Outcome};
use super::request::Begun;
use crate::api::lease::Lease;
use crate::sync::pending::block_on;

impl<T, E> Once<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// Runs the work, waits for a concurrent caller that runs it, or replays its outcome.
    ///
    /// Blocks the current thread, and runs the work on it. Must not be called on a thread that
    /// drives futures; use another form there.
    ///
    /// The lease is renewed while the work runs. Long work should check [`Lease::is_lost`]
    /// regularly.
    ///
    /// # Errors
    ///
    /// [`OnceError`] contains the value or error that the work returned, if it ran in this call.
    /// - If the work returns an error, its [class](Self::classify) decides: by default, the failure
    ///   is stored with the code [`ERRORED`](crate::ERRORED) and replayed to later callers.
    /// - If the result or error is too large or would not read back, the failure
    ///   [`RESULT_REFUSED`](crate::RESULT_REFUSED) is stored instead.
    /// - A call from within the work of the same key would wait for itself. It is refused with
    ///   [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    ///
    /// # Panics
    ///
    /// Propagates a panic of the work, or of the functions and trait implementations that the
    /// caller supplied for its values, after storing the failure [`PANICKED`](crate::PANICKED).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// for is_replay in [false, true] {
    ///     let charge = engine.once("invoice:42").run(|_lease| Ok::<_, Message>("charged".to_owned()));
    ///     let charge = charge.unwrap();
    ///     assert_eq!((charge.value().as_str(), charge.is_replay()), ("charged", is_replay));
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn run(mut self, work: impl FnOnce(&Lease) -> Result<T, E>) -> Result<Outcome<T>, OnceError<T, E>> {
        match block_on(self.0.begin(None))? {
            Begun::Work(mut delivery) => delivery.run(work),
            Begun::Stored(stored) => stored,
        }
    }

    /// Runs the async work, waits for a concurrent caller that runs it, or replays its outcome.
    /// When the lease is lost, the work's future is dropped.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run). If the lease is lost while the work runs, the error is
    /// [`OnceError::Lost`] with `None`.
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Cancellation safety
    ///
    /// Dropping the returned future drops the work and abandons the lease, which then lapses
    /// immediately. The next caller's [`OnLapsed`](crate::OnLapsed) policy applies. If the outcome
    /// was being stored, it is stored or the lease is abandoned. If the work has not begun, the lease
    /// is released, unless the grant before it has lapsed. Use
    /// [`run_detached`](Self::run_detached) for work that must not stop in the middle, for example
    /// in a web server whose clients hang up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let charge = engine.once("invoice:42").run_async(async |lease| {
    ///     // Await the provider here.
    ///     Ok::<_, Message>(format!("charged under {}", lease.key()))
    /// });
    /// assert_eq!(charge.await.unwrap().value(), "charged under invoice:42");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub async fn run_async<F>(mut self, work: F) -> Result<Outcome<T>, OnceError<T, E>>
    where
        F: AsyncFnOnce(&Lease) -> Result<T, E>,
    {
        match self.0.begin(None).await? {
            Begun::Work(mut delivery) => {
                let lease = delivery.lease.share();
                delivery.run_future(async move { work(&lease).await }).await
            }
            Begun::Stored(stored) => stored,
        }
    }

    /// Runs the async work like [`run_async`](Self::run_async). The returned future is `Send` for
    /// every `work` whose future is, so a generic function can spawn it.
    ///
    /// # Errors
    ///
    /// As for [`run_async`](Self::run_async).
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Cancellation safety
    ///
    /// As for [`run_async`](Self::run_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Engine, Lease, Message};
    /// use lessor_memory::MemoryStore;
    ///
    /// /// Runs any job once, as a task.
    /// async fn spawned<F>(engine: Engine, key: String, job: impl FnOnce(Arc<Lease>) -> F + Send + 'static)
    /// where
    ///     F: Future<Output = Result<u64, Message>> + Send + 'static,
    /// {
    ///     let call = async move { engine.once(key).run_future(job).await };
    ///     let _outcome = tokio::spawn(call).await;
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// spawned(engine.clone(), "job 1".to_owned(), async |_lease| Ok(7)).await;
    /// assert_eq!(engine.status("job 1").await?.unwrap().result::<u64>()?, 7);
    /// # Ok::<(), lessor_core::Error>(())
    /// # }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::manual_async_fn, reason = "the signature promises a future that is `Send`")]
    pub fn run_future<F, Fut>(
        mut self,
        work: F,
    ) -> impl Future<Output = Result<Outcome<T>, OnceError<T, E>>> + Send
    where
        T: Send,
        E: Send,
        F: FnOnce(Arc<Lease>) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        async move {
            match self.0.begin(None).await? {
                Begun::Work(mut delivery) => {
                    let lease = delivery.lease.share();
                    delivery.run_future(async move { work(lease).await }).await
                }
                Begun::Stored(stored) => stored,
            }
        }
    }

    /// Runs the async work as a separate task, which continues when the returned future is dropped.
    ///
    /// `spawn` gives the task to an executor: `|task| { tokio::spawn(task); }`, or
    /// `|task| smol::spawn(task).detach()`. It is called after the lease was granted, so a caller
    /// that waits or gets a replay starts no task.
    ///
    /// # Errors
    ///
    /// As for [`run_async`](Self::run_async). If the executor drops the task, for example because
    /// it shuts down, the error is [`OnceError::Lost`] with `None`, or [`OnceError::Unrecorded`] if
    /// the work has returned and its outcome was being stored. The lease of a task that was dropped
    /// before its first poll is released, because nothing was done.
    ///
    /// # Panics
    ///
    /// As for [`run`](Self::run). If the returned future was dropped, a panic of the work is
    /// propagated in the task. A panic of `spawn` releases the lease and is propagated.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the returned future before the work begins ends the call. After that, the work
    /// continues, the lease is renewed, and the outcome is stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use lessor_core::{Engine, Lease, Message};
    /// use lessor_memory::MemoryStore;
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_time().build()?.block_on(async {
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let charge = engine.once("invoice-42").run_detached(
    ///     |task| drop(tokio::spawn(task)),
    ///     async |_lease| {
    ///         tokio::time::sleep(Duration::from_millis(50)).await;
    ///         Ok::<_, Message>("charged".to_owned())
    ///     },
    /// );
    /// // The client hangs up, and its handler is dropped.
    /// assert!(tokio::time::timeout(Duration::from_millis(5), charge).await.is_err());
    /// // The charge continues. The next caller waits for it and gets its result.
    /// let again = engine.once("invoice-42");
    /// let work = async |_lease: &Lease| Err::<String, _>(Message::new("a second charge"));
    /// assert_eq!(again.run_async(work).await.unwrap().into_value(), "charged");
    /// # Ok::<(), lessor_core::Error>(())
    /// # }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::manual_async_fn, reason = "the signature promises a future that is `Send`")]
    pub fn run_detached<F, Fut>(
        mut self,
        spawn: impl FnOnce(DetachedTask) + Send,
        work: F,
    ) -> impl Future<Output = Result<Outcome<T>, OnceError<T, E>>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(Arc<Lease>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            match self.0.begin(None).await? {
                Begun::Work(delivery) => {
                    let lease = delivery.lease.share();
                    detached::run(spawn, delivery, async move { work(lease).await }).await.1
                }
                Begun::Stored(stored) => stored,
            }
        }
    }
}
