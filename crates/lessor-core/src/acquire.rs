//! Asking for a lease.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::at_hand;
use crate::drive::{Begun, Guess, Outcome, begin};
use crate::engine::{Handle, unexpected};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::key::Key;
use crate::lease::{Lease, abandon};
use crate::lease_id::LeaseId;
use crate::machine::{Acquire, Answer, Command, Standing, tell};
use crate::pending::Pending;
use crate::record::Record;
use crate::settings::{OnFailed, OnLapsed, check_holder};
use crate::store::Reply;
use crate::time::Timestamp;
use crate::view::View;
use crate::wait::{Judgement, Reading};

/// How a key stands, for one who asked for its lease.
#[derive(Debug)]
#[must_use = "a lease that is dropped is given up at once"]
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
    acquire: Acquire,
    /// The caller chose the lease id, and may send the request again.
    chosen: bool,
    /// The first argument that was not acceptable.
    refused: Option<Box<Error>>,
}

/// What stands for the lease id until it is known that one is needed. No grant is ever made under it.
const NO_LEASE: LeaseId = LeaseId::from_bytes([0; 16]);

impl<'a> AcquireRequest<'a> {
    #[inline]
    pub(crate) fn new(shared: &'a Arc<Handle>, key: &'a str) -> Self {
        let acquire = Acquire {
            lease_id: NO_LEASE,
            ttl: shared.settings.default_ttl,
            holder: None,
            metadata: None,
            fingerprint: None,
            on_failed: OnFailed::Replay,
            on_lapsed: OnLapsed::TakeOver,
        };
        Self { shared, key, acquire, chosen: false, refused: None }
    }

    /// Length of the lease: 1 ms up to [`Settings::max_ttl`](crate::Settings::max_ttl). Default
    /// [`Settings::default_ttl`](crate::Settings::default_ttl).
    pub fn ttl(self, ttl: Duration) -> Self {
        let checked = self.shared.settings.check_ttl(ttl);
        self.with(checked, |acquire, ttl| acquire.ttl = ttl)
    }

    /// A label that observers see: host, process, agent. At most 1,024 bytes.
    pub fn holder(self, holder: &str) -> Self {
        self.with(check_holder(holder), |acquire, holder| acquire.holder = Some(holder))
    }

    /// Anything that serializes to a JSON object of limited size. Observers see it.
    pub fn metadata<T: Serialize + ?Sized>(self, metadata: &T) -> Self {
        let checked = self.shared.settings.check_metadata(metadata);
        self.with(checked, |acquire, metadata| acquire.metadata = Some(metadata))
    }

    /// The request that this key stands for. If the key's record was made for another one, the acquire is refused with
    /// [`Error::FingerprintMismatch`].
    pub fn fingerprint<T: Serialize + ?Sized>(self, request: &T) -> Self {
        self.with(Fingerprint::of(request), |acquire, fingerprint| acquire.fingerprint = Some(fingerprint))
    }

    /// The same as [`fingerprint`](Self::fingerprint), for a hash that the caller made.
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.acquire.fingerprint = Some(fingerprint);
        self
    }

    /// What to do if the work failed before. Default [`OnFailed::Replay`].
    pub fn on_failed(self, policy: OnFailed) -> Self {
        self.with(policy.check(), |acquire, policy| acquire.on_failed = policy)
    }

    /// What to do if the last holder's lease lapsed. Default [`OnLapsed::TakeOver`].
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.acquire.on_lapsed = policy;
        self
    }

    /// The id of the lease, chosen by the caller, so that the same acquire can be sent again after its reply was lost:
    /// if it had been granted, that grant is returned. Use a new one for each grant. Default: the engine draws one.
    pub fn lease_id(mut self, lease_id: LeaseId) -> Self {
        self.acquire.lease_id = lease_id;
        self.chosen = true;
        self
    }

    fn with<T>(mut self, checked: Result<T, Error>, set: impl FnOnce(&mut Acquire, T)) -> Self {
        match checked {
            Ok(value) => set(&mut self.acquire, value),
            Err(error) => {
                self.refused.get_or_insert_with(|| Box::new(error));
            }
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
        if let Some(told) = self.tell() {
            return Pending::ready(told);
        }
        match self.contend() {
            Ok(contended) => Pending::ready(contended),
            Err(key) => match self.shared.store.now().try_take() {
                Ok(Ok(now)) => self.contend_by_guess(key, now),
                Ok(Err(error)) => Pending::ready(Err(error.into())),
                Err(now) => self.contend_later(key, now),
            },
        }
    }

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

    fn contend_later(self, key: Key, now: Reply<Timestamp>) -> Pending<'static, Result<Acquisition, Error>> {
        let Self { shared, acquire, chosen, .. } = self;
        let shared = Arc::clone(shared);
        Pending::later(async move {
            let now = now.await?;
            let request = AcquireRequest { shared: &shared, key: "", acquire, chosen, refused: None };
            request.contend_by_guess(key, now).await
        })
    }

    /// What there is to tell without writing. Where records are at hand, a refusal or a replay is made without copying the
    /// record or even the key.
    #[inline]
    fn tell(&self) -> Option<Result<Acquisition, Error>> {
        let mut told = None;
        self.shared.store.glance(self.key, &mut |found| {
            told = found.and_then(|(record, now)| self.answer(Some(record), now));
        });
        told
    }

    /// The answer that follows from `record`, unless it is that the key may be acquired.
    #[inline]
    fn answer(&self, record: Option<&Record>, now: Timestamp) -> Option<Result<Acquisition, Error>> {
        let (standing, view) = match tell(record?, &self.acquire, now)? {
            Ok(told) => told,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(match standing {
            Standing::InProgress => Acquisition::InProgress(view),
            Standing::Completed => Acquisition::Completed(view),
            Standing::Failed { .. } => Acquisition::Failed(view),
            Standing::InDoubt => Acquisition::InDoubt(view),
        }))
    }

    /// What a reading means to one who waits with this request. The rules are those of an acquire, fingerprints included.
    pub(crate) fn judge(&self, reading: &Reading) -> Judgement<Result<Acquisition, Error>> {
        let seen = match reading {
            Ok(seen) => seen,
            Err(error) => return Judgement::Answer(Err(error.clone().into())),
        };
        match self.answer(seen.record.as_ref(), seen.now) {
            Some(Ok(Acquisition::InProgress(_))) => Judgement::Wait,
            Some(answer) => Judgement::Answer(answer),
            None => Judgement::Try,
        }
    }

    /// Tries to write a grant where records are at hand; else gives back the key.
    #[inline(never)]
    fn contend(&mut self) -> Result<Result<Acquisition, Error>, Key> {
        let shared = self.shared;
        let key = Key::checked(self.key);
        if !self.chosen {
            match shared.lease_ids.draw() {
                Ok(lease_id) => self.acquire.lease_id = lease_id,
                Err(error) => return Ok(Err(error)),
            }
        }
        if self.acquire.holder.is_none() {
            self.acquire.holder = shared.settings.holder.as_deref().map(Into::into);
        }
        match at_hand::grant(shared, &key, &self.acquire) {
            Some(granted) => {
                let lease = Lease::granted(Arc::clone(shared), key, self.acquire.ttl, granted, false);
                Ok(Ok(Acquisition::Acquired(lease)))
            }
            None => Err(key),
        }
    }

    /// Guesses that there is nothing.
    #[inline(never)]
    fn contend_by_guess(self, key: Key, now: Timestamp) -> Pending<'static, Result<Acquisition, Error>> {
        let Self { shared, acquire, chosen, .. } = self;
        let finish = Finish { lease_id: acquire.lease_id, ttl: acquire.ttl, chosen };
        match begin(shared, &key, &Command::Acquire(acquire), Guess::Absent, now) {
            Begun::Done(outcome) => Pending::ready(finish.finish(shared, key, outcome)),
            Begun::Later(flight) => {
                let mut orphan =
                    Orphan { shared: Arc::clone(shared), key, lease_id: finish.lease_id, armed: true };
                Pending::later(async move {
                    let outcome = flight.land(&orphan.shared, &orphan.key).await;
                    orphan.armed = false;
                    finish.finish(&orphan.shared, orphan.key.clone(), outcome)
                })
            }
        }
    }
}

impl<'a> IntoFuture for AcquireRequest<'a> {
    type Output = Result<Acquisition, Error>;
    type IntoFuture = Pending<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl fmt::Debug for AcquireRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireRequest")
            .field("key", &self.key)
            .field("ttl", &self.acquire.ttl)
            .finish_non_exhaustive()
    }
}

/// Turns the machine's answer into the caller's.
struct Finish {
    lease_id: LeaseId,
    ttl: Duration,
    chosen: bool,
}

impl Finish {
    #[inline]
    fn finish(self, shared: &Arc<Handle>, key: Key, outcome: Outcome) -> Result<Acquisition, Error> {
        let (record, resent) = match outcome {
            Ok((Answer::Granted, Some(record))) => (record, false),
            // Under an id that the engine drew nobody else can have been granted anything.
            Ok((Answer::Resent(record), _)) => (record, self.chosen),
            Ok((answer, _)) => return acquisition(answer),
            Err(error) => return Err(self.refuse(shared, key, error)),
        };
        Ok(Acquisition::Acquired(Lease::granted(
            Arc::clone(shared),
            key,
            self.ttl,
            record.body().clone(),
            resent,
        )))
    }

    #[cold]
    fn refuse(self, shared: &Arc<Handle>, key: Key, error: Error) -> Error {
        if error.kind() == ErrorKind::Indeterminate && !self.chosen {
            // It may have been granted, and nobody knows the id to ask for it again.
            abandon(shared, key, self.lease_id);
        }
        match error {
            // The engine's own id met its own grant again: the reply had been lost for longer than the lease.
            Error::LeaseIdReused if !self.chosen => Error::Lapsed,
            error => error,
        }
    }
}

/// What the caller is told where no lease is granted.
fn acquisition(answer: Answer) -> Result<Acquisition, Error> {
    match answer {
        Answer::InProgress(view) => Ok(Acquisition::InProgress(*view)),
        Answer::Completed(view) => Ok(Acquisition::Completed(*view)),
        Answer::Failed(view) => Ok(Acquisition::Failed(*view)),
        Answer::InDoubt(view) => Ok(Acquisition::InDoubt(*view)),
        _ => Err(unexpected()),
    }
}

/// Gives up a lease that may be granted to a caller who went away.
struct Orphan {
    shared: Arc<Handle>,
    key: Key,
    lease_id: LeaseId,
    armed: bool,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if self.armed {
            abandon(&self.shared, self.key.clone(), self.lease_id);
        }
    }
}
