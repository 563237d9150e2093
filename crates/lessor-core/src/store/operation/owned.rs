//! Operations that a store keeps while it waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::cause::Cause;
use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::data::write::OwnedConditionalWrite;
use crate::rules::{Command, Decision, Keep, decide};

/// An [`Operation`](super::Operation) that a store keeps while it waits. Borrows nothing, and is
/// `Send` and `Sync`.
pub struct OwnedOperation {
    pub(super) key: Key,
    pub(super) request: OwnedRequest,
    pub(super) keep: Keep,
    /// False if the generation of a lease id failed.
    pub(super) has_id: bool,
    /// The expected record (`Some(None)` for no record), or `None` without an expectation.
    pub(super) guess: Option<Option<Record>>,
}

pub(super) enum OwnedRequest {
    Command(Command),
    Rules(Arc<Rules>),
    Swap(Box<OwnedConditionalWrite>),
}

/// Replaces the rules: decides on a record and a time.
pub(super) type Rules = dyn Fn(Option<&Record>, Timestamp) -> Decision + Send + Sync;

impl OwnedOperation {
    /// Returns an operation as an engine with this retention creates it, for tests of stores.
    #[doc(hidden)]
    #[must_use]
    pub fn new(key: Key, command: Command, keep: impl Into<Keep>) -> Self {
        Self::of(key, command, keep.into(), true)
    }

    /// Returns a plain conditional write, for tests of stores and for adapters.
    #[doc(hidden)]
    #[must_use]
    pub fn swap(key: Key, change: OwnedConditionalWrite) -> Self {
        let request = OwnedRequest::Swap(Box::new(change));
        Self { key, request, keep: Keep::new(Duration::ZERO, 0), has_id: true, guess: None }
    }

    /// Returns an operation that `rules` decide, for models that plant faults in the rules. Only
    /// [`Cas`](crate::Cas) executes it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_rules(
        key: Key,
        rules: impl Fn(Option<&Record>, Timestamp) -> Decision + Send + Sync + 'static,
    ) -> Self {
        Self::of_rules(key, Arc::new(rules))
    }

    pub(super) fn of_rules(key: Key, rules: Arc<Rules>) -> Self {
        let request = OwnedRequest::Rules(rules);
        Self { key, request, keep: Keep::new(Duration::ZERO, 0), has_id: true, guess: None }
    }

    pub(super) fn of(key: Key, command: Command, keep: Keep, has_id: bool) -> Self {
        Self { key, request: OwnedRequest::Command(command), keep, has_id, guess: None }
    }

    /// Returns the operation with an expected record, which saves a reading if the expectation is
    /// right.
    #[doc(hidden)]
    #[must_use]
    pub fn expecting(self, record: Option<Record>) -> Self {
        Self { guess: Some(record), ..self }
    }

    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Decides on a copy of the record.
    pub(crate) fn decide(&self, current: Option<&Record>, now: Timestamp) -> Decision {
        match &self.request {
            OwnedRequest::Command(Command::Acquire(_)) if !self.has_id => Decision::Refuse(no_lease_id()),
            OwnedRequest::Command(command) => decide(current, command, now, self.keep),
            OwnedRequest::Rules(rules) => rules(current, now),
            OwnedRequest::Swap(_) => Decision::Refuse(Error::unexpected()),
        }
    }
}

impl fmt::Debug for OwnedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OwnedOperation");
        shown.field("key", &self.key);
        match &self.request {
            OwnedRequest::Command(command) => shown.field("command", command),
            OwnedRequest::Rules(_) => shown.field("command", &"by custom rules"),
            OwnedRequest::Swap(change) => shown.field("swap", change),
        };
        shown.finish_non_exhaustive()
    }
}

#[cold]
pub(super) fn no_lease_id() -> Error {
    Error::Randomness(Cause::new("no lease id could be drawn"))
}
