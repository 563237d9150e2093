//! Asking for a lease.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::api::lease::Lease;
use crate::data::error::Error;
use crate::data::fingerprint::Fingerprint;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::Record;
use crate::data::store_error::StoreError;
use crate::data::time::{Timestamp, whole_micros};
use crate::data::view::View;
use crate::rules::settings::{OnFailed, OnLapsed, check_holder};
use crate::rules::{Acquire, AcquireOptions, Answer, KeyStatus, answer_to_acquire};
use crate::run::context::{Answered, Handle};
use crate::run::tasks::abandon;
use crate::run::wait::{NextStep, Reading};
use crate::store::operation::{Executed, Execution, Operation, Report};
use crate::store::types::Reply;
use crate::sync::pending::Pending;

/// How a key stands, for one who asked for its lease.
///
/// A later release can add answers. No lease is granted by an answer that the caller does not know, so it is handled like
/// [`InProgress`](Self::InProgress): acquire again later.
#[derive(Debug)]
#[must_use = "a lease that is dropped is given up at once"]
#[non_exhaustive]
pub enum Acquisition {
    /// The caller holds the lease and has the work to do.
    Acquired(Lease),
    /// Somebody else is at it: [`View::ttl_left`] and [`View::retry_after`] say for how long.
    InProgress(View),
    /// It was done before: [`View::result`] has the result.
    Completed(View),
    /// It failed before, and the policy allows no other try, or not yet: [`View::retry_after`].
    Failed(View),
    /// A former holder vanished in the middle, and the policy leaves it to you what that means: look at the world,
    /// then [`Engine::resolve`](crate::Engine::resolve).
    InDoubt(View),
}

/// A request for a lease. Made by [`Engine::acquire`](crate::Engine::acquire); nothing happens until it is sent by
/// [`wait`](Self::wait), [`send`](Self::send) or `.await`.
#[derive(Clone)]
#[must_use = "nothing is asked until it is sent: `.wait()`, `.send()` or `.await`"]
pub struct AcquireRequest<'a> {
    shared: &'a Arc<Handle>,
    key: &'a str,
    /// In µs. All fields have the size of a word, because a move is slow that reads more at once than was written at once.
    ttl: u64,
    /// The lease id, if the caller has chosen one, so that the request can be sent again.
    lease_id: Option<Box<LeaseId>>,
    options: Option<Arc<AcquireOptions>>,
    /// The first argument that was not acceptable.
    refused: Option<Box<Error>>,
}

/// What stands for the lease id until it is known that one is needed. No grant is ever made under it.
const NO_LEASE: LeaseId = LeaseId::from_bytes([0; 16]);

impl<'a> AcquireRequest<'a> {
    #[inline]
    pub(crate) fn new(shared: &'a Arc<Handle>, key: &'a str) -> Self {
        let ttl = whole_micros(shared.settings.limits.default_ttl);
        Self { shared, key, ttl, lease_id: None, options: None, refused: None }
    }

    /// Length of the lease: 1 ms up to [`Limits::max_ttl`](field@crate::Limits::max_ttl). Default
    /// [`Limits::default_ttl`](field@crate::Limits::default_ttl).
    #[inline]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        match self.shared.settings.limits.check_ttl(ttl) {
            Ok(ttl) => self.ttl = whole_micros(ttl),
            Err(error) => self.refuse(error),
        }
        self
    }

    #[cold]
    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert_with(|| Box::new(error));
    }

    /// A label that observers see: host, process, agent. At most 1,024 bytes.
    pub fn holder(self, holder: &str) -> Self {
        self.with(check_holder(holder), |options, holder| options.holder = Some(holder))
    }

    /// Anything that serializes to a JSON object of limited size. Observers see it.
    pub fn metadata<T: Serialize + ?Sized>(self, metadata: &T) -> Self {
        let checked = self.shared.settings.limits.check_metadata(metadata);
        self.with(checked, |options, metadata| options.metadata = Some(metadata))
    }

    /// The request that this key stands for. If the key's record was made for another one, the acquire is refused with
    /// [`Error::FingerprintMismatch`].
    pub fn fingerprint<T: Serialize + ?Sized>(self, request: &T) -> Self {
        self.with(Fingerprint::of(request), |options, fingerprint| options.fingerprint = Some(fingerprint))
    }

    /// The same as [`fingerprint`](Self::fingerprint), for a hash that the caller made.
    pub fn fingerprint_hash(self, fingerprint: Fingerprint) -> Self {
        self.with(Ok(fingerprint), |options, fingerprint| options.fingerprint = Some(fingerprint))
    }

    /// What to do if the work failed before. Default [`OnFailed::Replay`].
    pub fn on_failed(self, policy: OnFailed) -> Self {
        self.with(policy.check(), |options, policy| options.on_failed = policy)
    }

    /// What to do if the last holder's lease lapsed. Default [`OnLapsed::TakeOver`].
    pub fn on_lapsed(self, policy: OnLapsed) -> Self {
        self.with(Ok(policy), |options, policy| options.on_lapsed = policy)
    }

    /// The id of the lease, chosen by the caller, so that the same acquire can be sent again after its reply was lost:
    /// if it had been granted, that grant is returned. Use a new one for each grant. Default: the engine draws one.
    pub fn lease_id(mut self, lease_id: LeaseId) -> Self {
        self.lease_id = Some(Box::new(lease_id));
        self
    }

    fn with<T>(mut self, checked: Result<T, Error>, set: impl FnOnce(&mut AcquireOptions, T)) -> Self {
        match checked {
            Ok(value) => set(Arc::make_mut(self.options.get_or_insert_default()), value),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Sends the request and parks this thread until the answer is there.
    #[inline]
    pub fn wait(self) -> Result<Acquisition, Error> {
        self.send().wait()
    }

    /// Sends the request. If the answer is dropped before it came, the lease that it may bring is given up.
    #[inline]
    pub fn send(mut self) -> Pending<'static, Result<Acquisition, Error>> {
        if let Err(error) = self.check() {
            return Pending::ready(Err(error));
        }
        let Self { shared, key: text, .. } = self;
        let chosen = self.lease_id.is_some();
        let acquire = &mut self.acquire();
        let finish = Finish { ttl: acquire.ttl, chosen };
        let (mut answer, mut granted, mut written, mut key) = (None, None, None, None);
        let mut sink = |report: Report<'_>| match report {
            Report::Stands(status, record, now) => answer = Some(Ok(status.acquisition(record, now))),
            Report::Granted(record) => granted = Some(Granted::of(record.body())),
            Report::Written(record, now) => written = Some((record.clone(), now)),
            report => answer = finish.rare(report, &mut granted),
        };
        let retention = shared.settings.limits.retention;
        let mut operation =
            Operation::acquire(&***shared, retention, text, &mut key, acquire, chosen, &mut sink);
        match shared.store.execute(&mut operation) {
            Execution::Done(_) => match granted {
                Some(granted) => {
                    let granted = (acquire.lease_id, granted);
                    finish.lease(shared, text, key, granted, answer.is_some(), written)
                }
                None => Pending::ready(answer.unwrap_or_else(|| Err(Error::unexpected()))),
            },
            Execution::Later(reply) => finish.later(shared, &mut operation, reply),
        }
    }

    #[inline]
    fn check(&mut self) -> Result<(), Error> {
        if let Some(error) = self.refused.take() {
            return Err(*error);
        }
        Key::check(self.key)?;
        if self.shared.is_closed() {
            return Err(Error::ShutDown);
        }
        Ok(())
    }

    /// Returns the request without its key. The lease id is drawn later.
    #[inline]
    fn acquire(&self) -> Acquire {
        let lease_id = self.lease_id.as_deref().copied().unwrap_or(NO_LEASE);
        Acquire::with_options(lease_id, Duration::from_micros(self.ttl), self.options.clone())
    }

    /// Returns the answer that follows from `record`, unless the key may be acquired.
    fn answer(&self, record: Option<&Record>, now: Timestamp) -> Option<Result<Acquisition, Error>> {
        let record = record?;
        let answer = answer_to_acquire(record, &self.acquire(), now)?;
        Some(answer.map(|(status, now)| status.acquisition(record, now)))
    }

    /// What a reading means to one who waits with this request. The rules are those of an acquire, fingerprints included.
    pub(crate) fn judge(&self, reading: &Reading) -> NextStep<Result<Acquisition, Error>> {
        let seen = match reading {
            Ok(seen) => seen,
            Err(error) => return NextStep::Answer(Err(error.clone().into())),
        };
        match self.answer(seen.record.as_ref(), seen.now) {
            Some(Ok(Acquisition::InProgress(_))) => NextStep::Wait,
            Some(answer) => NextStep::Answer(answer),
            None => NextStep::Try,
        }
    }
}

impl<'a> IntoFuture for AcquireRequest<'a> {
    type Output = Result<Acquisition, Error>;
    type IntoFuture = Pending<'static, Self::Output>;

    #[inline]
    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl fmt::Debug for AcquireRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireRequest")
            .field("key", &self.key)
            .field("ttl", &Duration::from_micros(self.ttl))
            .finish_non_exhaustive()
    }
}

impl KeyStatus {
    #[inline]
    fn acquisition(self, record: &Record, now: Timestamp) -> Acquisition {
        let view = self.view(record, now);
        match self {
            Self::InProgress => Acquisition::InProgress(view),
            Self::Completed => Acquisition::Completed(view),
            Self::Failed { .. } => Acquisition::Failed(view),
            Self::InDoubt => Acquisition::InDoubt(view),
        }
    }
}

/// Turns the store's answer into the caller's.
#[derive(Clone, Copy)]
struct Finish {
    ttl: Duration,
    /// The caller chose the lease id.
    chosen: bool,
}

/// A record that the operation wrote, and when.
type Written = Option<(Record, Timestamp)>;

impl Finish {
    /// Takes a report other than the usual ones. A grant that was made before is entered in `granted`, and the answer is then present
    /// if the caller has to know that it is not a new one.
    #[cold]
    fn rare(self, report: Report<'_>, granted: &mut Option<Granted>) -> Option<Result<Acquisition, Error>> {
        match report {
            Report::Answer(Answer::Resent(record)) => {
                *granted = Some(Granted::of(record.body()));
                // Under an id that the engine drew no other caller can have been granted anything.
                self.chosen.then(|| Err(Error::unexpected()))
            }
            Report::Answer(answer) => Some(acquisition(answer.clone())),
            Report::Refused(error) => Some(Err(self.refusal(error.clone()))),
            _ => Some(Err(Error::unexpected())),
        }
    }

    #[inline]
    fn lease(
        self,
        shared: &Arc<Handle>,
        text: &str,
        key: Option<Key>,
        (lease_id, granted): (LeaseId, Granted),
        resent: bool,
        written: Written,
    ) -> Pending<'static, Result<Acquisition, Error>> {
        let key = key.unwrap_or_else(|| Key::checked(text));
        if let Some((record, now)) = written {
            // A new lease ends that of the former holder, which may be watched.
            shared.watches.written(&key, &record, now);
        }
        let lease = Lease::granted(Arc::clone(shared), (key, lease_id), self.ttl, granted, resent);
        Pending::ready(Ok(Acquisition::Acquired(lease)))
    }

    fn finish(self, shared: &Arc<Handle>, key: Key, answered: Answered) -> Result<Acquisition, Error> {
        let (record, resent) = match answered {
            Ok((Answer::Granted, Some(record))) => (record, false),
            Ok((Answer::Resent(record), _)) => (*record, self.chosen),
            Ok((answer, _)) => return acquisition(answer),
            Err(error) => return Err(self.refusal(error)),
        };
        let held = (key, record.body().lease_id);
        let granted = Granted::of(record.body());
        Ok(Acquisition::Acquired(Lease::granted(Arc::clone(shared), held, self.ttl, granted, resent)))
    }

    fn refusal(self, error: Error) -> Error {
        match error {
            // The engine's own id met its own grant again: the reply had been lost for longer than the lease.
            Error::LeaseIdReused if !self.chosen => Error::Lapsed,
            error => error,
        }
    }

    /// Returns the answer that the store's reply will bring.
    #[inline(never)]
    fn later(
        self,
        shared: &Arc<Handle>,
        operation: &mut Operation<'_>,
        reply: Reply<Executed>,
    ) -> Pending<'static, Result<Acquisition, Error>> {
        let (key, lease_id) = (operation.to_key(), operation.lease_id());
        let mut orphan = Orphan { shared: Arc::clone(shared), key, lease_id };
        reply.map(move |executed| {
            // An indeterminate write may have granted a lease, and only the engine knows its id, unless the caller chose it.
            let may_be_granted = matches!(executed, Err(StoreError::Indeterminate(_))) && !self.chosen;
            orphan.lease_id = orphan.lease_id.filter(|_| may_be_granted);
            let answered = orphan.shared.take(&orphan.key, executed);
            self.finish(&orphan.shared, orphan.key.clone(), answered)
        })
    }
}

/// Returns the caller's answer where no lease is granted.
fn acquisition(answer: Answer) -> Result<Acquisition, Error> {
    match answer {
        Answer::InProgress(view) => Ok(Acquisition::InProgress(*view)),
        Answer::Completed(view) => Ok(Acquisition::Completed(*view)),
        Answer::Failed(view) => Ok(Acquisition::Failed(*view)),
        Answer::InDoubt(view) => Ok(Acquisition::InDoubt(*view)),
        _ => Err(Error::unexpected()),
    }
}

/// Gives up the lease of a caller that went away before it was granted.
struct Orphan {
    shared: Arc<Handle>,
    key: Key,
    /// `None` once the caller has its answer.
    lease_id: Option<LeaseId>,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(lease_id) = self.lease_id {
            abandon(&self.shared, self.key.clone(), lease_id);
        }
    }
}
