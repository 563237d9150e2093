//! [`Once`], which runs a piece of work once and returns its outcome to all callers.

mod call;
mod codec;
mod codes;
mod deliver;
mod detached;
mod failure_class;
mod hooks;
mod message;
mod outcome;
mod reconcile;
mod request;
mod retrying;
mod run;
mod versioned;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::api::lease::Lease;
use crate::data::fingerprint::Fingerprint;
use crate::rules::policies::{OnFailed, OnLapsed};
use crate::run::context::Handle;
use request::Request;

pub use codec::{Bytes, Codec, Json};
pub use codes::{ERRORED, PANICKED, RESULT_REFUSED};
pub use detached::DetachedTask;
pub use failure_class::FailureClass;
pub use message::Message;
pub use outcome::{OnceError, Outcome};
pub use reconcile::Reconciled;
pub use retrying::Retrying;
pub use versioned::Versioned;

/// A request to run a piece of work once, and to return its outcome to all callers with the same
/// key. Created by [`Engine::once`](crate::Engine::once).
///
/// `T` is the result of the work and `E` its error. Both are stored, so that each later caller gets
/// the same value. A work whose error cannot be stored converts it to a [`Message`].
///
/// The request borrows nothing. It can be built in one place and run in another, and it can be sent
/// to another thread. Nothing happens until one of these methods is called:
///
/// | method | the work | if the caller is dropped |
/// |---|---|---|
/// | [`run`](Self::run) | a closure, on the caller's thread | – |
/// | [`run_async`](Self::run_async) | an async closure | the work is dropped and the lease abandoned |
/// | [`run_future`](Self::run_future) | a closure that returns a `Send` future, for generic wrappers | the work is dropped and the lease abandoned |
/// | [`run_detached`](Self::run_detached) | a closure that returns a `Send` future, as a task of its own | **the work continues, and its outcome is stored** |
///
/// A web server drops the future of a request when its client hangs up. Use `run_detached` there:
/// with the other forms the work stops in the middle, and the next caller runs it again.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, OnceError};
/// use lessor_memory::MemoryStore;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Declined {
///     NoFunds,
/// }
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// for is_first in [true, false] {
///     let charge = engine.once("invoice-42").run(|_lease| Ok::<_, Declined>("charged".to_owned()));
///     let outcome = charge?;
///     assert_eq!((outcome.value().as_str(), outcome.is_replay()), ("charged", !is_first));
/// }
/// // The first caller and every later one get the same error.
/// for _ in 0..2 {
///     let charge = engine.once("invoice-43").run(|_lease| Err::<String, _>(Declined::NoFunds));
///     assert!(matches!(charge, Err(OnceError::Work { error: Declined::NoFunds, .. })));
/// }
/// # Ok::<(), OnceError<String, Declined>>(())
/// ```
#[must_use = "nothing happens until `run` or another of its forms is called"]
pub struct Once<T, E>(Request<T, E>);

impl<T, E> Once<T, E> {
    pub(crate) fn new(engine: &Arc<Handle>, key: &str) -> Self {
        Self(Request::new(engine, key))
    }

    /// Sets the ttl of the lease. The lease is renewed while the work runs, so the ttl is the time
    /// after which another caller can take over from a holder that has died. From 1 ms to
    /// [`Limits::max_ttl`](field@crate::Limits::max_ttl). Default:
    /// [`Limits::default_ttl`](field@crate::Limits::default_ttl).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let job = engine.once("job").ttl(Duration::from_secs(30));
    /// job.run(|lease| Ok::<_, Message>(lease.attempt())).unwrap();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.call.terms.ttl(&self.0.call.engine.settings.limits, ttl);
        self
    }

    /// Sets a label of the holder for observers, of at most 1024 bytes. Default:
    /// [`Settings::holder`](field@crate::Settings::holder).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let job = engine.once("job").holder("host-3, process 4711");
    /// job.run(|_lease| Ok::<_, Message>(())).unwrap();
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.holder(), Some("host-3, process 4711"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn holder(mut self, holder: &str) -> Self {
        self.0.call.terms.holder(holder);
        self
    }

    /// Sets metadata for observers. It must serialize to a JSON object of at most
    /// [`Limits::max_metadata`](field@crate::Limits::max_metadata) bytes. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let job = engine.once("job").metadata(&std::collections::BTreeMap::from([("ticket", 42)]));
    /// job.run(|_lease| Ok::<_, Message>(())).unwrap();
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.metadata_json(), Some(r#"{"ticket":42}"#));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn metadata<M: Serialize + ?Sized>(mut self, metadata: &M) -> Self {
        self.0.call.terms.metadata(&self.0.call.engine.settings.limits, metadata);
        self
    }

    /// Sets the request that the key stands for. The same key with a different request is refused
    /// with [`Error::FingerprintMismatch`](crate::Error::FingerprintMismatch). Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let pay = |cents: u32| {
    ///     engine.once("payment:7").fingerprint(&cents).run(|_lease| Ok::<_, Message>("paid".to_owned()))
    /// };
    /// pay(4200).unwrap();
    /// assert!(matches!(pay(9900), Err(OnceError::Engine(Error::FingerprintMismatch))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fingerprint<R: Serialize + ?Sized>(mut self, request: &R) -> Self {
        self.0.call.terms.fingerprint(Fingerprint::of(request));
        self
    }

    /// Sets the fingerprint of the request that the key stands for. See
    /// [`fingerprint`](Self::fingerprint).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let body = Fingerprint::of_bytes(br#"{"cents":4200}"#);
    /// let pay = engine.once("payment:7").fingerprint_hash(body);
    /// pay.run(|_lease| Ok::<_, Message>("paid".to_owned())).unwrap();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.0.call.terms.fingerprint(Ok(fingerprint));
        self
    }

    /// Sets the behaviour if the work has failed before and its failure was kept. Default:
    /// [`OnFailed::Replay`]. A failure of the class [`FailureClass::retry`] can be retried by all
    /// callers, independently of this policy.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail("busy").wait()?;
    /// let retry = OnFailed::Retry { max_attempts: 3, backoff: Backoff::NONE };
    /// let again = engine.once("job").on_failed(retry).run(|lease| Ok::<_, Message>(lease.attempt()));
    /// assert_eq!(again.unwrap().into_value(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_failed(mut self, policy: OnFailed) -> Self {
        self.0.call.terms.on_failed(policy);
        self
    }

    /// Sets the behaviour if the last lease has lapsed without an outcome. Default:
    /// [`OnLapsed::TakeOver`], or [`OnLapsed::Reconcile`] after [`reconcile`](Self::reconcile).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.abandon().wait()?;
    /// let next = engine.once("job").on_lapsed(OnLapsed::InDoubt);
    /// let next = next.run(|_lease| Ok::<(), Message>(()));
    /// assert!(matches!(next, Err(OnceError::InDoubt { .. })), "the work may be half done");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.0.call.terms.on_lapsed(policy);
        self
    }

    /// Sets the maximum time to wait for a concurrent caller that runs the same work. Zero does not
    /// wait. The backoffs of [`retry_until`](Self::retry_until) do not count. Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let other = engine.once("job").wait_timeout(Duration::ZERO);
    /// let other = other.run(|_lease| Ok::<(), Message>(()));
    /// assert!(matches!(other, Err(OnceError::InProgress(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.0.call.wait_timeout = Some(timeout);
        self
    }

    /// Renews the lease only while the work makes progress: after `stall_after` without a
    /// [`tick`](Lease::tick), a checkpoint or an extension, renewal stops. The lease is then lost
    /// after at most its ttl, unless the work makes progress again before. At least 1 ms.
    ///
    /// A process that is alive but hangs loses its lease this way. Default: renewal does not depend
    /// on progress.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # let engine = lessor_core::Engine::new(Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let import = engine.once("import:2026-11-29").stall_after(Duration::from_secs(60));
    /// let rows = import.run(|lease| {
    ///     let mut rows = 0;
    ///     for _row in ["a", "b", "c"] {
    ///         lease.tick();
    ///         rows += 1;
    ///     }
    ///     Ok::<_, lessor_core::Message>(rows)
    /// })?;
    /// assert_eq!(rows.into_value(), 3);
    /// # Ok::<(), lessor_core::OnceError<i32, lessor_core::Message>>(())
    /// ```
    pub fn stall_after(mut self, stall_after: Duration) -> Self {
        self.0.call.stall_after(stall_after);
        self
    }

    /// Sets how the errors of the work are handled. The function returns the class of an error:
    /// keep the failure, retry, release the key, or leave it in doubt. Default:
    /// [`FailureClass::keep`] for all errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use lessor_core::{Backoff, Engine, FailureClass, OnceError};
    /// use lessor_memory::MemoryStore;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Serialize, Deserialize)]
    /// enum Failed {
    ///     Declined,
    ///     Overloaded,
    ///     NotSent,
    ///     TimedOut,
    /// }
    ///
    /// fn class(error: &Failed) -> FailureClass {
    ///     match error {
    ///         Failed::Declined => FailureClass::keep().code("declined"),
    ///         Failed::Overloaded => FailureClass::retry(5, Backoff::fixed(Duration::from_secs(1))),
    ///         Failed::NotSent => FailureClass::release(),
    ///         Failed::TimedOut => FailureClass::unsure(),
    ///     }
    /// }
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let charge = engine.once("invoice-42").classify(class);
    /// let failed = charge.run(|_lease| Err::<(), _>(Failed::TimedOut)).unwrap_err();
    /// assert!(matches!(failed, OnceError::InDoubt { error: Some(Failed::TimedOut), .. }));
    /// // No caller runs the work again until an operator, or a caller with `reconcile`, decides.
    /// let again = engine.once("invoice-42").run(|_lease| Ok::<(), Failed>(())).unwrap_err();
    /// assert!(matches!(again, OnceError::InDoubt { error: None, .. }));
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn classify(mut self, class: impl Fn(&E) -> FailureClass + Send + 'static) -> Self {
        self.0.hooks.classify = Some(Box::new(class));
        self
    }

    /// Sets a function that looks for the effect of the work after an earlier holder's lease has
    /// lapsed. The work then runs only if the function returns [`Reconciled::NotDone`].
    ///
    /// The function runs under the new lease, so only one caller at a time looks. A panic of the
    /// function leaves the key in doubt and is propagated. Sets [`on_lapsed`](Self::on_lapsed) to
    /// [`OnLapsed::Reconcile`]: a later call of that method replaces the policy.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Engine, Message, Reconciled};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// // A holder charges the card and dies before it completes its lease.
    /// drop(engine.acquire("invoice-42").wait()?);
    /// while engine.status("invoice-42").wait()?.is_some_and(|view| view.ttl_left().is_some()) {
    ///     std::thread::yield_now();
    /// }
    ///
    /// let charged_at_the_provider = || Some("receipt 1".to_owned());
    /// let outcome = engine
    ///     .once("invoice-42")
    ///     .reconcile(move |_lease| match charged_at_the_provider() {
    ///         Some(receipt) => Reconciled::Done(receipt),
    ///         None => Reconciled::NotDone,
    ///     })
    ///     .run(|_lease| Err(Message::new("a second charge")))
    ///     .unwrap();
    /// assert!(outcome.is_reconciled() && outcome.value() == "receipt 1");
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn reconcile(mut self, look: impl FnMut(&Lease) -> Reconciled<T> + Send + 'static) -> Self
    where
        T: Send + 'static,
    {
        self.0.hooks.reconcile = Some(reconcile::from_fn(look));
        self.on_lapsed(OnLapsed::Reconcile)
    }

    /// Sets an async function that looks for the effect of the work. See
    /// [`reconcile`](Self::reconcile). [`run`](Self::run) blocks its thread until the future is
    /// ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.abandon().wait()?;
    /// let found = async |_reference: &str| Some(1); // a query to the provider
    /// let job = engine.once("job").reconcile_async(move |lease| async move {
    ///     match found(lease.key()).await {
    ///         Some(receipt) => Reconciled::Done(receipt),
    ///         None => Reconciled::NotDone,
    ///     }
    /// });
    /// let job = job.run(|_lease| Err::<u32, _>(Message::new("a second effect")));
    /// assert_eq!(job.unwrap().into_value(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reconcile_async<F, Fut>(mut self, look: F) -> Self
    where
        F: FnMut(Arc<Lease>) -> Fut + Send + 'static,
        Fut: Future<Output = Reconciled<T>> + Send + 'static,
    {
        self.0.hooks.reconcile = Some(reconcile::from_async_fn(look));
        self.on_lapsed(OnLapsed::Reconcile)
    }

    /// Sets the encoding of results. Default: [`Json`]. All callers of a key must use the same.
    /// Errors are always stored as JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let render = engine.once("page:7").codec(Bytes);
    /// render.run(|_lease| Ok::<_, Message>(vec![1, 2, 3])).unwrap();
    /// let view = engine.status("page:7").wait()?.unwrap();
    /// assert_eq!(view.result_bytes(), Some(&[1, 2, 3][..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn codec(mut self, codec: impl Codec<T> + 'static) -> Self {
        self.0.hooks.codec = Some(Arc::new(codec));
        self
    }

    /// Waits through backoffs and runs the work again, until it has an outcome that does not allow
    /// another attempt, or until `deadline`.
    ///
    /// Without this, a call runs the work at most once and returns its failure immediately. The
    /// work of the returned request must be callable more than once (`FnMut`). With a deadline in
    /// the past, the call waits for nothing, but runs the work if the key is free.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let retry = |_: &Message| FailureClass::retry(3, Backoff::fixed(Duration::from_millis(1)));
    /// let deadline = std::time::Instant::now() + Duration::from_secs(60);
    /// let job = engine.once("job").classify(retry).retry_until(deadline).run(|lease| {
    ///     if lease.attempt() < 3 { Err(Message::new("busy")) } else { Ok(lease.attempt()) }
    /// });
    /// assert_eq!(job.unwrap().into_value(), 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn retry_until(self, deadline: Instant) -> Retrying<T, E> {
        Retrying::new(self.0, deadline)
    }
}

impl<T, E> fmt::Debug for Once<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Once", f)
    }
}
