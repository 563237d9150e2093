//! Lends an owned operation in its borrowed form.

use super::executed::{Executed, Outcome};
use super::owned::{OwnedOperation, OwnedRequest};
use super::report::Report;
use super::slot::RecordSlot;
use super::{Guess, Operation, Request};
use crate::data::error::Error;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::data::token::Token;

impl OwnedOperation {
    /// Answers the operation if no write is necessary: see [`Operation::answer`].
    #[must_use]
    pub fn answer(&self, current: &Record, now: Timestamp) -> Option<Executed> {
        let (answered, executed) = self.lend(|operation| operation.answer(current, now));
        answered.map(|_| executed)
    }

    /// Decides the operation and changes the record in `slot`: see [`Operation::apply`].
    pub fn apply(&self, slot: RecordSlot<'_>, floor: Option<Token>, now: Timestamp) -> Executed {
        self.lend(|operation| operation.apply(slot, floor, now)).1
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
            keep: self.keep,
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
