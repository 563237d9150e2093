//! The answer of an operation that arrived with a reply.

use super::report::{Report, is_write};
use crate::data::error::Error;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::{Answer, found};
use crate::store::types::CasResult;

/// The answer to an [`OwnedOperation`](super::OwnedOperation), and the record that was written for
/// it. Opaque to stores.
#[derive(Debug)]
#[must_use = "it contains the answer that the caller waits for"]
pub struct Executed {
    pub(crate) outcome: Outcome,
    /// The record that was written, and the time of the write.
    pub(crate) written: Option<(Record, Timestamp)>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Answer),
    Refused(Error),
    Swapped(CasResult),
}

impl Executed {
    #[inline]
    pub(crate) fn stored(answer: Answer, next: Record, now: Timestamp) -> Self {
        Self { outcome: Outcome::Answer(answer), written: Some((next, now)) }
    }

    pub(crate) fn receive(&mut self, report: Report<'_>) {
        self.outcome = match report {
            Report::Written(record, now) => return self.written = Some((record.clone(), now)),
            Report::Granted(record) => {
                self.written = Some((record.clone(), record.body().acquired_at));
                Outcome::Answer(Answer::Granted)
            }
            Report::Stands(standing, record, now) => Outcome::Answer(standing.answer(record, now)),
            Report::Answer(answer) => Outcome::Answer(answer.clone()),
            Report::Refused(error) => Outcome::Refused(error.clone()),
            Report::Swapped(swap) => Outcome::Swapped(swap.clone()),
        };
    }

    /// Returns whether the record was changed.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match &self.outcome {
            Outcome::Swapped(swap) => is_write(swap),
            _ => self.written.is_some(),
        }
    }

    /// Returns the answer for an unconfirmed write that was found in `record`.
    ///
    /// For stores that decide themselves, after a commit whose reply was lost: see
    /// [`Unconfirmed`](crate::store::Unconfirmed).
    pub fn found(self, record: &Record, now: Timestamp) -> Self {
        match self.outcome {
            Outcome::Answer(answer) => Self::stored(found(record, answer), record.clone(), now),
            outcome => Self { outcome, written: self.written },
        }
    }

    /// Returns the answer, and the record that was written for it.
    #[doc(hidden)]
    pub fn into_answer(self) -> Result<(Answer, Option<Record>), Error> {
        match self.outcome {
            Outcome::Answer(answer) => Ok((answer, self.written.map(|(record, _)| record))),
            Outcome::Refused(error) => Err(error),
            Outcome::Swapped(_) => Err(Error::unexpected()),
        }
    }

    /// Returns the answer to a plain conditional write.
    #[doc(hidden)]
    #[must_use]
    pub fn into_swap(self) -> Option<CasResult> {
        match self.outcome {
            Outcome::Swapped(swap) => Some(swap),
            _ => None,
        }
    }
}

impl From<Outcome> for Executed {
    #[inline]
    fn from(outcome: Outcome) -> Self {
        Self { outcome, written: None }
    }
}
