//! Asking for a lease.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::drive::{Begun, Guess, Outcome, begin};
use crate::engine::{Shared, unexpected};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::key::Key;
use crate::lease::{Lease, abandon};
use crate::lease_id::LeaseId;
use crate::machine::{Acquire, Answer, Command, Decision, decide};
use crate::pending::Pending;
use crate::settings::{OnFailed, OnLapsed, check_holder};
use crate::time::Timestamp;
use crate::view::View;

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
    shared: &'a Arc<Shared>,
    key: &'a str,
    ttl: Option<Duration>,
    lease_id: Option<LeaseId>,
    options: Options,
    /// The first argument that was not acceptable.
    refused: Option<Error>,
}

#[derive(Clone, Default)]
struct Options {
    holder: Option<Box<str>>,
    metadata: Option<Box<str>>,
    fingerprint: Option<Fingerprint>,
    on_failed: OnFailed,
    on_lapsed: OnLapsed,
}

impl<'a> AcquireRequest<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, key: &'a str) -> Self {
        Self { shared, key, ttl: None, lease_id: None, options: Options::default(), refused: None }
    }

    /// Length of the lease: 1 ms up to [`Settings::max_ttl`](crate::Settings::max_ttl). Default
    /// [`Settings::default_ttl`](crate::Settings::default_ttl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// A label that observers see: host, process, agent. At most 1,024 bytes.
    pub fn holder(self, holder: &str) -> Self {
        self.with(check_holder(holder), |options, holder| options.holder = Some(holder))
    }

    /// Anything that serializes to a JSON object of limited size. Observers see it.
    pub fn metadata<T: Serialize + ?Sized>(self, metadata: &T) -> Self {
        let checked = self.shared.settings.check_metadata(metadata);
        self.with(checked, |options, metadata| options.metadata = Some(metadata))
    }

    /// The request that this key stands for. If the key's record was made for another one, the acquire is refused with
    /// [`Error::FingerprintMismatch`].
    pub fn fingerprint<T: Serialize + ?Sized>(self, request: &T) -> Self {
        let made = Fingerprint::of(request).map_err(|error| Error::json("fingerprint", &error));
        self.with(made, |options, fingerprint| options.fingerprint = Some(fingerprint))
    }

    /// The same as [`fingerprint`](Self::fingerprint), for a hash that the caller made.
    pub fn fingerprint_hash(mut self, fingerprint: Fingerprint) -> Self {
        self.options.fingerprint = Some(fingerprint);
        self
    }

    /// What to do if the work failed before. Default [`OnFailed::Replay`].
    pub fn on_failed(mut self, policy: OnFailed) -> Self {
        self.options.on_failed = policy;
        self
    }

    /// What to do if the last holder's lease lapsed. Default [`OnLapsed::TakeOver`].
    pub fn on_lapsed(mut self, policy: OnLapsed) -> Self {
        self.options.on_lapsed = policy;
        self
    }

    /// The id of the lease, chosen by the caller, so that the same acquire can be sent again after its reply was lost:
    /// if it had been granted, that grant is returned. Use a new one for each grant. Default: the engine draws one.
    pub fn lease_id(mut self, lease_id: LeaseId) -> Self {
        self.lease_id = Some(lease_id);
        self
    }

    fn with<T>(mut self, checked: Result<T, Error>, set: impl FnOnce(&mut Options, T)) -> Self {
        match checked {
            Ok(value) => set(&mut self.options, value),
            Err(error) => {
                self.refused.get_or_insert(error);
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
    pub fn send(self) -> Pending<'static, Result<Acquisition, Error>> {
        let now = self.shared.store.now();
        match self.into_order() {
            Err(error) => Pending::ready(Err(error)),
            Ok(order) => match now.try_take() {
                Ok(Ok(now)) => order.place(now),
                Ok(Err(error)) => Pending::ready(Err(error.into())),
                Err(now) => {
                    let order = order.into_owned();
                    Pending::later(async move {
                        let now = now.await?;
                        order.borrow().place(now).await
                    })
                }
            },
        }
    }

    fn into_order(self) -> Result<Order<'a>, Error> {
        let shared = self.shared;
        if let Some(error) = self.refused {
            return Err(error);
        }
        Key::check(self.key)?;
        if shared.is_closed() {
            return Err(Error::ShutDown);
        }
        let ttl = match self.ttl {
            Some(ttl) => shared.settings.check_ttl(ttl)?,
            None => shared.settings.default_ttl,
        };
        let Options { holder, metadata, fingerprint, on_failed, on_lapsed } = self.options;
        let chosen = self.lease_id.is_some();
        let lease_id = match self.lease_id {
            Some(lease_id) => lease_id,
            None => shared.lease_ids.draw()?,
        };
        let holder = holder.or_else(|| shared.settings.holder.as_deref().map(Into::into));
        let request = Acquire { lease_id, ttl, holder, metadata, fingerprint, on_failed, on_lapsed };
        Ok(Order { shared, key: self.key, command: Command::Acquire(request), lease_id, ttl, chosen })
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
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A request that was checked.
struct Order<'a> {
    shared: &'a Arc<Shared>,
    key: &'a str,
    command: Command,
    lease_id: LeaseId,
    ttl: Duration,
    /// The caller chose the lease id, and may send the request again.
    chosen: bool,
}

struct OwnedOrder {
    shared: Arc<Shared>,
    key: String,
    command: Command,
    lease_id: LeaseId,
    ttl: Duration,
    chosen: bool,
}

impl OwnedOrder {
    fn borrow(&self) -> Order<'_> {
        let Self { shared, key, command, lease_id, ttl, chosen } = self;
        Order { shared, key, command: command.clone(), lease_id: *lease_id, ttl: *ttl, chosen: *chosen }
    }
}

impl Order<'_> {
    fn into_owned(self) -> OwnedOrder {
        let Self { shared, key, command, lease_id, ttl, chosen } = self;
        OwnedOrder { shared: Arc::clone(shared), key: key.to_owned(), command, lease_id, ttl, chosen }
    }

    fn place(self, now: Timestamp) -> Pending<'static, Result<Acquisition, Error>> {
        let Self { shared, key, command, lease_id, ttl, chosen } = self;
        // Where records are at hand, a refusal or a replay is told without copying the record or even the key.
        let mut told = None;
        shared.store.glance(key, &mut |record| {
            if record.is_some() {
                match decide(record, &command, now, shared.settings.retention) {
                    Decision::Answer(answer) => told = Some(Ok((answer, None))),
                    Decision::Refuse(error) => told = Some(Err(error)),
                    Decision::Write(..) => {}
                }
            }
        });
        let finish = Finish { lease_id, ttl, chosen };
        if let Some(outcome) = told
            && !matches!(outcome, Ok((Answer::Acquired { .. }, _)))
        {
            return Pending::ready(finish.without_grant(outcome));
        }
        let key = match Key::new(key) {
            Ok(key) => key,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        match begin(shared, &key, command, Guess::Absent, now) {
            Begun::Done(outcome) => Pending::ready(finish.finish(shared, key, outcome)),
            Begun::Later(flight) => {
                let orphan = Orphan { shared: Arc::clone(shared), key, lease_id, armed: true };
                Pending::later(async move {
                    let mut orphan = orphan;
                    let outcome = flight.land(&orphan.shared, &orphan.key).await;
                    orphan.armed = false;
                    finish.finish(&orphan.shared, orphan.key.clone(), outcome)
                })
            }
        }
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
    fn finish(self, shared: &Arc<Shared>, key: Key, outcome: Outcome) -> Result<Acquisition, Error> {
        match outcome {
            Ok((Answer::Acquired { record, resent }, _)) => {
                let lease = Lease::granted(Arc::clone(shared), key, self.lease_id, self.ttl, record, resent);
                Ok(Acquisition::Acquired(lease))
            }
            outcome => {
                let answer = self.without_grant(outcome);
                if let Err(error) = &answer
                    && error.kind() == ErrorKind::Indeterminate
                    && !self.chosen
                {
                    // It may have been granted, and nobody knows the id to ask for it again.
                    abandon(shared, key, self.lease_id, Guess::None);
                }
                answer
            }
        }
    }

    fn without_grant(&self, outcome: Outcome) -> Result<Acquisition, Error> {
        match outcome {
            Ok((Answer::InProgress(view), _)) => Ok(Acquisition::InProgress(view)),
            Ok((Answer::Completed(view), _)) => Ok(Acquisition::Completed(view)),
            Ok((Answer::Failed(view), _)) => Ok(Acquisition::Failed(view)),
            Ok((Answer::InDoubt(view), _)) => Ok(Acquisition::InDoubt(view)),
            Ok(_) => Err(unexpected()),
            // The engine's own id met its own grant again: the reply had been lost for longer than the lease.
            Err(Error::LeaseIdReused) if !self.chosen => Err(Error::Lapsed),
            Err(error) => Err(error),
        }
    }
}

/// Gives up a lease that may be granted to a caller who went away.
struct Orphan {
    shared: Arc<Shared>,
    key: Key,
    lease_id: LeaseId,
    armed: bool,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if self.armed {
            abandon(&self.shared, self.key.clone(), self.lease_id, Guess::None);
        }
    }
}
