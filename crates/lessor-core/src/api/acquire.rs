//! Requests for leases.

pub(crate) mod answer;

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::api::acquire::answer::{Acquisition, Finish, observe};
use crate::api::terms::Terms;
use crate::data::error::Error;
use crate::data::fingerprint::Fingerprint;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::answer_to_acquire;
use crate::rules::policies::{OnFailed, OnLapsed};
use crate::run::charged::Charged;
use crate::run::context::Handle;
use crate::run::namespace::Namespace;
use crate::run::wait::{NextStep, Reading};
use crate::store::operation::{Execution, Operation, Report};
use crate::sync::pending::Pending;

/// A request for a lease, created by [`Engine::acquire`](crate::Engine::acquire). Nothing happens
/// until it is sent with [`wait`](Self::wait), [`send`](Self::send) or `.await`.
///
/// An invalid argument of a method is reported as an error when the request is sent.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use lessor_core::{Acquisition, Engine};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let request = engine.acquire("invoice:42").ttl(Duration::from_secs(60)).holder("worker 1");
/// match request.wait()? {
///     Acquisition::Acquired(lease) => {
///         let receipt = format!("receipt, token {}", lease.token());
///         lease.complete(&receipt).wait()?;
///     }
///     Acquisition::Completed(view) => println!("already done: {}", view.result::<String>()?),
///     other => println!("not now: {other:?}"),
/// }
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until the request is sent: `.wait()`, `.send()` or `.await`"]
pub struct AcquireRequest<'a> {
    shared: &'a Arc<Handle>,
    key: &'a str,
    terms: Terms,
}

impl<'a> AcquireRequest<'a> {
    #[inline]
    pub(crate) fn new(shared: &'a Arc<Handle>, key: &'a str) -> Self {
        Self::with_terms(shared, key, Terms::new(&shared.settings.limits))
    }

    #[inline]
    pub(super) fn with_terms(shared: &'a Arc<Handle>, key: &'a str, terms: Terms) -> Self {
        Self { shared, key, terms }
    }

    /// Sets the duration of the lease, from 1 ms to
    /// [`Limits::max_ttl`](field@crate::Limits::max_ttl). Default:
    /// [`Limits::default_ttl`](field@crate::Limits::default_ttl).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("job").ttl(Duration::from_secs(60)).wait()?;
    /// let left = engine.status("job").wait()?.unwrap().ttl_left();
    /// assert!(left <= Some(Duration::from_secs(60)));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl(&self.shared.settings.limits, ttl);
        self
    }

    /// Sets a label for the holder that observers see, such as its host and process. At most 1,024
    /// bytes, without control characters.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("job").holder("host-3, process 4711").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.holder(), Some("host-3, process 4711"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn holder(mut self, holder: &str) -> Self {
        self.terms.holder(holder);
        self
    }

    /// Sets metadata that observers see: a value that serializes to a JSON object of at most
    /// [`Limits::max_metadata`](field@crate::Limits::max_metadata) bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let ticket = std::collections::BTreeMap::from([("ticket", 42)]);
    /// let _lease = engine.acquire("job").metadata(&ticket).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.metadata_json(), Some(r#"{"ticket":42}"#));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> Self {
        self.terms.metadata(&self.shared.settings.limits, metadata);
        self
    }

    /// Sets [`metadata`](Self::metadata) to a JSON text, which is stored as it is: with its order of
    /// names, its blanks, and numbers of any size.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("job").metadata_json(r#"{"ticket":42}"#).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.metadata_json(), Some(r#"{"ticket":42}"#));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn metadata_json(mut self, json: &str) -> Self {
        self.terms.metadata_json(&self.shared.settings.limits, json);
        self
    }

    /// Sets the request that the key stands for, of which a hash is stored. If the key's record has
    /// another fingerprint, the acquire is refused with [`Error::FingerprintMismatch`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("payment").fingerprint(&("4200 cents", "card 7")).wait()?;
    /// let other = engine.acquire("payment").fingerprint(&("9900 cents", "card 7")).wait();
    /// assert!(matches!(other, Err(Error::FingerprintMismatch)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fingerprint<T: Serialize + ?Sized>(mut self, request: &T) -> Self {
        self.terms.fingerprint(Fingerprint::of(request));
        self
    }

    /// Sets the [`fingerprint`](Self::fingerprint) to a hash that the caller computed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let body = Fingerprint::of_bytes(br#"{"cents":4200}"#);
    /// let _lease = engine.acquire("payment").fingerprint_hash(body).wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.terms.fingerprint(Ok(fingerprint));
        self
    }

    /// Sets the policy for work that failed before. Default: [`OnFailed::Replay`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail("busy").wait()?;
    /// let retry = OnFailed::Retry { max_attempts: 3, backoff: Backoff::NONE };
    /// let again = engine.acquire("job").on_failed(retry).wait()?;
    /// assert!(matches!(again, Acquisition::Acquired(_)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_failed(mut self, policy: OnFailed) -> Self {
        self.terms.on_failed(policy);
        self
    }

    /// Sets the policy for a lease that lapsed. Default: [`OnLapsed::TakeOver`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.abandon().wait()?;
    /// let next = engine.acquire("job").on_lapsed(OnLapsed::InDoubt).wait()?;
    /// assert!(matches!(next, Acquisition::InDoubt(_)), "the work may be half done");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.terms.on_lapsed(policy);
        self
    }

    /// Sets the id of the lease, so that the same acquire can be sent again after its reply was
    /// lost: if it was granted, the answer is that grant. Use a new id for each grant. Default: the
    /// engine generates one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let request = engine.acquire("job").lease_id(LeaseId::random()?);
    /// let lost_reply = request.clone().wait()?;
    /// assert!(matches!(request.wait()?, Acquisition::Acquired(lease) if lease.is_duplicate()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lease_id(mut self, lease_id: LeaseId) -> Self {
        self.terms.lease_id(lease_id);
        self
    }

    /// Sends the request and blocks the thread until the answer arrives.
    ///
    /// # Errors
    ///
    /// See [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let acquired = engine.acquire("job").wait()?;
    /// assert!(matches!(acquired, Acquisition::Acquired(_)));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn wait(self) -> Result<Acquisition, Error> {
        self.send().wait()
    }

    /// Sends the request.
    ///
    /// # Cancellation safety
    ///
    /// The request is sent by this call, not by the first poll. If the future is dropped before it
    /// is ready, the engine ends the lease that the request may have been granted. It releases the
    /// lease, because nothing was done, unless the grant before it has lapsed. It abandons a lease
    /// whose [`lease_id`](Self::lease_id) the caller chose, because another process may work under
    /// it.
    ///
    /// # Errors
    ///
    /// - [`Error::Key`], [`Error::Invalid`], [`Error::TooLarge`] or [`Error::Json`] for an invalid
    ///   argument. Nothing was sent.
    /// - [`Error::FingerprintMismatch`] if the key's record has another fingerprint.
    /// - [`Error::LeaseIdReused`] if the grant under the chosen lease id has ended.
    /// - [`Error::QuotaExceeded`] if the key could be granted, and the quota of the namespace for this
    ///   month is used up.
    /// - [`Error::ShutDown`] after the engine was closed.
    /// - [`Error::Store`] if the store failed. If the [kind](Error::kind) is
    ///   [`Indeterminate`](crate::ErrorKind::Indeterminate), the lease may have been granted. The
    ///   engine ends it as after a cancellation, unless the caller chose the
    ///   [`lease_id`](Self::lease_id).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// // Several requests are in flight at the same time.
    /// let requests = ["job 1", "job 2"].map(|key| engine.acquire(key).send());
    /// for request in requests {
    ///     assert!(matches!(request.wait()?, Acquisition::Acquired(_)));
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn send(self) -> Pending<Result<Acquisition, Error>> {
        if let Err(error) = self.check() {
            return Pending::ready(Err(error));
        }
        match &self.shared.namespace {
            None => self.execute(self.key, Timestamp::MAX),
            Some(namespace) => self.send_in(namespace),
        }
    }

    /// Sends the request in a namespace.
    #[inline(never)]
    fn send_in(&self, namespace: &Arc<Namespace>) -> Pending<Result<Acquisition, Error>> {
        let text = namespace.space.text(self.key);
        match namespace.quota {
            None => self.execute(&text, Timestamp::MAX),
            Some(quota) => {
                let (engine, terms) = (Arc::clone(self.shared), self.terms.clone());
                // With a lease id of the caller's, an earlier request may have been granted and charged.
                let unit = if terms.has_lease_id() { None } else { namespace.space.units.take() };
                let request = move |text: &str, charged_until| {
                    AcquireRequest::with_terms(&engine, text, terms.clone()).execute(text, charged_until)
                };
                let is_grant = |answer: &_| matches!(answer, Acquisition::Acquired(_));
                let (engine, namespace) = (Arc::clone(self.shared), Arc::clone(namespace));
                Charged { engine, namespace, quota, request, text, is_grant, unit }.send()
            }
        }
    }

    /// Sends the request for the key that the store keeps under `text`. A grant is made only before
    /// `charged_until`.
    #[inline]
    fn execute(&self, text: &str, charged_until: Timestamp) -> Pending<Result<Acquisition, Error>> {
        let shared = self.shared;
        let chosen = self.terms.has_lease_id();
        let acquire = &mut self.terms.acquire();
        acquire.charged_until = charged_until;
        let finish = Finish { ttl: acquire.ttl, chosen };
        let (mut answer, mut stands, mut granted, mut written, mut key) = (None, None, None, None, None);
        let mut sink = |report: Report<'_>| match report {
            Report::Stands(status, record, now) => {
                answer = Some(Ok(status.acquisition(record, now)));
                stands = Some(status);
            }
            Report::Granted(record) => granted = Some(Granted::of(record.body())),
            Report::Written(record, now) => written = Some((record.clone(), now)),
            report => answer = finish.rare(report, &mut granted),
        };
        let keep = shared.keep;
        let mut operation = Operation::acquire(&**shared, keep, text, &mut key, acquire, chosen, &mut sink);
        match shared.store.execute(&mut operation) {
            Execution::Done(_) => match granted {
                Some(granted) => {
                    let granted = (acquire.lease_id, granted);
                    finish.lease(shared, text, key, granted, answer.is_some(), written)
                }
                None => {
                    match (stands, &answer) {
                        (Some(status), _) => shared.record(&status.event(text)),
                        (None, Some(answer)) => observe(shared, text.into(), answer),
                        (None, None) => {}
                    }
                    Pending::ready(answer.unwrap_or_else(|| Err(Error::unexpected())))
                }
            },
            Execution::Later(reply) => finish.later(shared, &mut operation, reply),
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Error> {
        self.terms.check()?;
        Key::check(self.key)?;
        if self.shared.is_closed() {
            return Err(Error::ShutDown);
        }
        Ok(())
    }

    /// Returns the answer that follows from `record`, or `None` if the key may be acquired.
    fn answer(&self, record: Option<&Record>, now: Timestamp) -> Option<Result<Acquisition, Error>> {
        let record = record?;
        let answer = answer_to_acquire(record, &self.terms.acquire(), now)?;
        Some(answer.map(|(status, now)| status.acquisition(record, now)))
    }

    /// Returns the next step of a caller that waits with this request, after a reading. The rules
    /// are those of an acquire, including fingerprints.
    pub(crate) fn judge(&self, reading: &Reading) -> NextStep<Result<Acquisition, Error>> {
        let snapshot = match reading {
            Ok(snapshot) => snapshot,
            Err(error) => return NextStep::Answer(Err(error.clone().into())),
        };
        match self.answer(snapshot.record.as_ref(), snapshot.now) {
            Some(Ok(Acquisition::InProgress(_))) => NextStep::Wait,
            Some(answer) => NextStep::Answer(answer),
            None => NextStep::Try,
        }
    }
}

impl<'a> IntoFuture for AcquireRequest<'a> {
    type Output = Result<Acquisition, Error>;
    type IntoFuture = Pending<Self::Output>;

    #[inline]
    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl fmt::Debug for AcquireRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireRequest")
            .field("key", &self.key)
            .field("ttl", &self.terms.acquire().ttl)
            .finish_non_exhaustive()
    }
}
