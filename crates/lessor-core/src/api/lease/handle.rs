//! Access to a lease by its key and lease id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::grant::Grant;
use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::value::{json_payload, json_text, payload};
use crate::rules::settings::{Limits, check_result_hash, failure};
use crate::rules::{Ack, HolderCommand};
use crate::run::context::Handle;
use crate::store::contract::Store;
use crate::sync::pending::Pending;

/// Access to a lease by its key and lease id. Cheap to clone.
///
/// Created by [`Lease::handle`](crate::Lease::handle), and by
/// [`Engine::lease_handle`](crate::Engine::lease_handle) for a holder in another process. Dropping
/// a handle does not end the lease, and a handle stays usable after its [`Lease`](crate::Lease) was
/// dropped, which abandons the lease.
///
/// No operation consumes the handle. If the store was unavailable, the same operation can be sent
/// again. An operation that is sent again although it has taken effect returns the same answer and
/// writes nothing. The [errors](crate::Lease#errors) are those of a lease, and the [`Pending`]s are
/// cancellation safe.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Acquisition, Engine, LeaseId};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let id = LeaseId::random()?;
/// let Acquisition::Acquired(lease) = engine.acquire("invoice:42").lease_id(id).wait()? else {
///     unreachable!("the key is new");
/// };
/// // Another process that knows the lease id delivers the outcome.
/// let handle = engine.lease_handle("invoice:42", id)?;
/// handle.complete("receipt").wait()?;
/// assert!(lease.complete("receipt").wait()?.is_duplicate());
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct LeaseHandle(pub(super) Arc<Grant>);

impl LeaseHandle {
    pub(crate) fn by_id(shared: Arc<Handle>, key: Key, lease_id: LeaseId) -> Self {
        let ttl = shared.settings.limits.default_ttl;
        Self::new(shared, key, lease_id, ttl, None)
    }

    #[inline]
    pub(super) fn new(
        shared: Arc<Handle>,
        key: Key,
        lease_id: LeaseId,
        ttl: Duration,
        granted: Option<Granted>,
    ) -> Self {
        Self(Grant::new(shared, key, lease_id, ttl, granted))
    }

    /// Returns the key, as it was given to the engine.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.key.name()
    }

    /// Returns the lease id. See [`Lease::lease_id`](crate::Lease::lease_id).
    #[must_use]
    pub fn lease_id(&self) -> &LeaseId {
        &self.0.lease_id
    }

    /// Notes that the work makes progress. See [`Lease::tick`](crate::Lease::tick).
    pub fn tick(&self) {
        self.0.tick();
    }

    /// Extends the lease. See [`Lease::extend`](crate::Lease::extend).
    pub fn extend(&self, ttl: Duration) -> Pending<Result<Ack, Error>> {
        self.0.tick();
        match self.limits().check_ttl(ttl) {
            Ok(ttl) => self.0.act(HolderCommand::Extend { ttl }),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Stores a checkpoint as JSON. See [`Lease::checkpoint`](crate::Lease::checkpoint).
    pub fn checkpoint<T: Serialize + ?Sized>(&self, value: &T) -> Pending<Result<Ack, Error>> {
        self.0.tick();
        let checkpoint = json_payload("checkpoint", value, self.limits().max_checkpoint);
        self.act_on(checkpoint.map(HolderCommand::Checkpoint))
    }

    /// Stores a checkpoint. See [`Lease::checkpoint_bytes`](crate::Lease::checkpoint_bytes).
    pub fn checkpoint_bytes(&self, bytes: &[u8]) -> Pending<Result<Ack, Error>> {
        self.0.tick();
        let checkpoint = payload("checkpoint", bytes, self.limits().max_checkpoint);
        self.act_on(checkpoint.map(HolderCommand::Checkpoint))
    }

    /// Completes the work with a result as JSON. See [`Lease::complete`](crate::Lease::complete).
    #[inline]
    pub fn complete<T: Serialize + ?Sized>(&self, result: &T) -> Pending<Result<Ack, Error>> {
        let result = json_payload("result", result, self.limits().max_result);
        self.act_on(result.map(|result| HolderCommand::Complete(result, None)))
    }

    /// Completes the work with a result. See
    /// [`Lease::complete_bytes`](crate::Lease::complete_bytes).
    pub fn complete_bytes(&self, result: &[u8]) -> Pending<Result<Ack, Error>> {
        self.complete_bytes_as(result, None)
    }

    /// Completes the work with a result and its hash. See
    /// [`Lease::complete_bytes_as`](crate::Lease::complete_bytes_as).
    pub fn complete_bytes_as(&self, result: &[u8], hash: Option<&str>) -> Pending<Result<Ack, Error>> {
        let hash = hash.map(check_result_hash).transpose();
        let result = payload("result", result, self.limits().max_result);
        self.act_on(result.and_then(|result| Ok(HolderCommand::Complete(result, hash?))))
    }

    /// Fails the work. See [`Lease::fail`](crate::Lease::fail).
    pub fn fail(&self, code: &str) -> Pending<Result<Ack, Error>> {
        self.act_on(failure(self.limits(), code, None).map(HolderCommand::Fail))
    }

    /// Fails the work with details. See [`Lease::fail_with`](crate::Lease::fail_with).
    pub fn fail_with(&self, code: &str, detail: &str) -> Pending<Result<Ack, Error>> {
        self.act_on(failure(self.limits(), code, Some(detail)).map(HolderCommand::Fail))
    }

    /// Fails the work with details as JSON. See [`Lease::fail_as`](crate::Lease::fail_as).
    pub fn fail_as<T: Serialize + ?Sized>(&self, code: &str, detail: &T) -> Pending<Result<Ack, Error>> {
        let detail = json_text("error detail", detail);
        let failure = detail.and_then(|detail| failure(self.limits(), code, Some(&detail)));
        self.act_on(failure.map(HolderCommand::Fail))
    }

    /// Fails the work as canceled. See [`Lease::cancel`](crate::Lease::cancel).
    pub fn cancel(&self, reason: Option<&str>) -> Pending<Result<Ack, Error>> {
        self.fail(&canceled(reason))
    }

    /// Fails the work for now. See [`Lease::fail_retryable`](crate::Lease::fail_retryable).
    pub fn fail_retryable(&self, code: &str, retry_after: Duration) -> Pending<Result<Ack, Error>> {
        let failure = failure(self.limits(), code, None);
        self.act_on(failure.map(|failure| HolderCommand::Fail(failure.retry_after(retry_after))))
    }

    /// Releases the lease. See [`Lease::release`](crate::Lease::release).
    pub fn release(&self) -> Pending<Result<Ack, Error>> {
        self.0.act(HolderCommand::Release)
    }

    /// Abandons the lease. See [`Lease::abandon`](crate::Lease::abandon).
    pub fn abandon(&self) -> Pending<Result<Ack, Error>> {
        self.0.act(HolderCommand::Abandon)
    }

    /// Leaves the key in doubt. See [`Lease::leave_in_doubt`](crate::Lease::leave_in_doubt).
    pub fn leave_in_doubt(&self) -> Pending<Result<Ack, Error>> {
        self.0.act(HolderCommand::Doubt)
    }

    pub(super) fn complete_with(&self, result: Payload) -> Pending<Result<Ack, Error>> {
        self.0.act(HolderCommand::Complete(result, None))
    }

    /// Fails the work with a failure whose parts were checked by the caller.
    pub(crate) fn fail_by(&self, failure: Failure) -> Pending<Result<Ack, Error>> {
        self.0.act(HolderCommand::Fail(failure))
    }

    /// Returns whether this is a holder of `key` in `store` that has no outcome yet and has not
    /// been lost, as far as the engine knows.
    pub(crate) fn holds(&self, store: &Arc<dyn Store>, key: &str) -> bool {
        self.0.holds(store, key)
    }

    fn limits(&self) -> &Limits {
        &self.0.shared.settings.limits
    }

    #[inline]
    fn act_on(&self, act: Result<HolderCommand, Error>) -> Pending<Result<Ack, Error>> {
        match act {
            Ok(act) => self.0.act(act),
            Err(error) => Pending::ready(Err(error)),
        }
    }
}

/// Returns the error code of work that was canceled for this reason.
pub(crate) fn canceled(reason: Option<&str>) -> String {
    match reason {
        None | Some("") => "canceled".to_owned(),
        Some(reason) => format!("canceled:{reason}"),
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseHandle")
            .field("key", &self.0.key)
            .field("lease_id", self.lease_id())
            .finish_non_exhaustive()
    }
}
