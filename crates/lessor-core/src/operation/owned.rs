//! Operations that a store keeps while it waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::executed::{Executed, Outcome};
use super::{Guess, Operation, RecordSlot, Report, Request, no_lease_id};
use crate::error::Error;
use crate::key::Key;
use crate::machine::{Act, Command, Decision, decide};
use crate::record::{Record, Token};
use crate::store::types::OwnedChange;
use crate::time::Timestamp;

/// An [`Operation`] that a store keeps while it waits. Borrows nothing, and is `Send` and `Sync`.
pub struct OwnedOperation {
    key: Key,
    request: OwnedRequest,
    retention: Duration,
    /// False if no lease id could be drawn.
    has_id: bool,
    /// The expected record, if there is an expectation.
    guess: Option<Option<Record>>,
}

enum OwnedRequest {
    Command(Command),
    Rules(Arc<Rules>),
    Swap(OwnedChange),
}

/// A decision upon a record at a time, in place of the machine's.
pub(super) type Rules = dyn Fn(Option<&Record>, Timestamp) -> Decision + Send + Sync;

impl OwnedOperation {
    /// Returns an operation such as an engine with this retention makes, for tests of stores.
    #[doc(hidden)]
    #[must_use]
    pub fn new(key: Key, command: Command, retention: Duration) -> Self {
        Self::of(key, command, retention, true)
    }

    /// Returns a plain conditional write, for tests of stores and for adapters.
    #[doc(hidden)]
    #[must_use]
    pub fn swap(key: Key, change: OwnedChange) -> Self {
        let request = OwnedRequest::Swap(change);
        Self { key, request, retention: Duration::ZERO, has_id: true, guess: None }
    }

    /// Returns an operation that is decided by `rules`, for models that plant faults in the rules. Only [`Cas`](crate::Cas) carries it
    /// out.
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
        Self { key, request, retention: Duration::ZERO, has_id: true, guess: None }
    }

    pub(super) fn of(key: Key, command: Command, retention: Duration, has_id: bool) -> Self {
        Self { key, request: OwnedRequest::Command(command), retention, has_id, guess: None }
    }

    /// Returns the operation with the record that it expects, which saves a reading where that is right.
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

    /// Returns whether the operation may be committed at any time after it was decided.
    ///
    /// *Complete*, *fail*, *release* and *abandon* may. *Extend* and *checkpoint* may not: they have to be written while the lease
    /// lives, or they would bring back a lease that observers saw end. A store refuses those in a transaction of the caller's.
    #[must_use]
    pub fn may_be_committed_later(&self) -> bool {
        match &self.request {
            OwnedRequest::Command(Command::Act(_, act)) => {
                !matches!(act, Act::Extend { .. } | Act::Checkpoint(_))
            }
            OwnedRequest::Command(_) | OwnedRequest::Rules(_) => true,
            OwnedRequest::Swap(change) => !change.borrow().is_timed(),
        }
    }

    /// Answers the operation if nothing has to be written for it: see [`Operation::answer`].
    #[must_use]
    pub fn answer(&self, current: &Record, now: Timestamp) -> Option<Executed> {
        let (answered, executed) = self.lend(|operation| operation.answer(current, now));
        answered.map(|_| executed)
    }

    /// Decides the operation and changes the record in `slot`: see [`Operation::apply`].
    pub fn apply(&self, slot: RecordSlot<'_>, floor: Option<Token>, now: Timestamp) -> Executed {
        self.lend(|operation| operation.apply(slot, floor, now)).1
    }

    /// Decides upon a copy of the record.
    pub(crate) fn decide(&self, current: Option<&Record>, now: Timestamp) -> Decision {
        match &self.request {
            OwnedRequest::Command(Command::Acquire(_)) if !self.has_id => Decision::Refuse(no_lease_id()),
            OwnedRequest::Command(command) => decide(current, command, now, self.retention),
            OwnedRequest::Rules(rules) => rules(current, now),
            OwnedRequest::Swap(_) => Decision::Refuse(Error::unexpected()),
        }
    }

    /// Passes the operation in its borrowed form to `run`. Returns the reports that were made.
    pub(crate) fn lend<T>(&self, run: impl FnOnce(&mut Operation<'_>) -> T) -> (T, Executed) {
        let mut executed = Executed::from(Outcome::Refused(Error::unexpected()));
        let mut sink = |report: Report<'_>| executed.receive(report);
        let request = match &self.request {
            OwnedRequest::Command(command) => Request::Command(command),
            OwnedRequest::Rules(rules) => Request::Rules(rules),
            OwnedRequest::Swap(change) => Request::Swap(change),
        };
        let guess = match &self.guess {
            None => Guess::None,
            Some(None) => Guess::Absent,
            Some(Some(record)) => Guess::Record(record),
        };
        let mut operation = Operation {
            text: &self.key,
            known: Some(&self.key),
            made: &mut None,
            request,
            retention: self.retention,
            guess,
            engine: None,
            has_id: self.has_id,
            is_prepared: self.has_id,
            sink: &mut sink,
        };
        let result = run(&mut operation);
        (result, executed)
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
