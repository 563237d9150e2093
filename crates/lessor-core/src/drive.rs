//! The only retry loop of the workspace: guess the record, decide, swap; a conflict shows the current record, decide
//! again. It runs on the caller's stack as long as the store answers at once, and in a future from then on.

use crate::engine::Shared;
use crate::error::Error;
use crate::key::Key;
use crate::machine::{Answer, Command, Decision, decide};
use crate::record::Record;
use crate::store::{Change, Reply, Seen, StoreError, Swap};
use crate::time::Timestamp;

/// Each conflict means that somebody else got on, so this many in a row mean a store that does not keep its contract.
const MAX_ROUNDS: u32 = 10_000;
/// How often an indeterminate write is looked into before the caller is told.
const MAX_DOUBTS: u32 = 3;

/// What an operation came to, and the record it wrote if it wrote one.
pub(crate) type Outcome = Result<(Answer, Option<Record>), Error>;

/// What the engine believes is stored, before it has looked.
pub(crate) enum Guess {
    /// Nothing, as for a fresh key.
    Absent,
    /// This, as for a holder that wrote it.
    Record(Record),
    /// No idea: look first.
    None,
}

pub(crate) enum Begun {
    Done(Outcome),
    Later(Flight),
}

/// An operation whose store has not answered yet.
pub(crate) struct Flight {
    drive: Drive,
    request: Request,
}

struct Drive {
    command: Command,
    rounds: u32,
    /// The last write that may have happened, until the record was read.
    unsure: Option<Written>,
    /// Why that is not known, and how many times it was the case. It stays: an early write may land late.
    doubt: Option<StoreError>,
    doubts: u32,
    /// When the clock was last read.
    now: Timestamp,
}

struct Written {
    next: Record,
    answer: Answer,
}

enum Request {
    Load(Reply<Seen>),
    Swap(Reply<Swap>, Written),
}

enum Response {
    Load(Result<Seen, StoreError>),
    Swap(Result<Swap, StoreError>, Written),
}

enum Step {
    Done(Outcome),
    Load,
    Swap(Change, Answer),
}

/// Begins an operation at `now`, and ends it as well if the store answers at once.
#[inline]
pub(crate) fn begin(shared: &Shared, key: &Key, command: Command, guess: Guess, now: Timestamp) -> Begun {
    let mut drive = Drive { command, rounds: 0, unsure: None, doubt: None, doubts: 0, now };
    let mut step = match guess {
        Guess::None => Step::Load,
        Guess::Absent => drive.venture(shared, None),
        Guess::Record(record) => drive.venture(shared, Some(&record)),
    };
    loop {
        let request = match step {
            Step::Done(outcome) => return Begun::Done(outcome),
            Step::Load => Request::Load(shared.store.load(key)),
            Step::Swap(change, answer) => send(shared, key, change, answer),
        };
        step = match request.try_take() {
            Ok(response) => drive.take_in(shared, key, response),
            Err(request) => return Begun::Later(Flight { drive, request }),
        };
    }
}

impl Flight {
    /// Sees the operation through.
    pub(crate) async fn land(self, shared: &Shared, key: &Key) -> Outcome {
        let Self { mut drive, mut request } = self;
        loop {
            let response = match request {
                Request::Load(reply) => Response::Load(reply.await),
                Request::Swap(reply, written) => Response::Swap(reply.await, written),
            };
            request = match drive.take_in(shared, key, response) {
                Step::Done(outcome) => return outcome,
                Step::Load => Request::Load(shared.store.load(key)),
                Step::Swap(change, answer) => send(shared, key, change, answer),
            };
        }
    }
}

fn send(shared: &Shared, key: &Key, change: Change, answer: Answer) -> Request {
    let next = change.next.clone();
    Request::Swap(shared.store.swap(key, change), Written { next, answer })
}

impl Request {
    fn try_take(self) -> Result<Response, Self> {
        match self {
            Self::Load(reply) => reply.try_take().map(Response::Load).map_err(Self::Load),
            Self::Swap(reply, written) => match reply.try_take() {
                Ok(swap) => Ok(Response::Swap(swap, written)),
                Err(reply) => Err(Self::Swap(reply, written)),
            },
        }
    }
}

impl Drive {
    /// Decides upon a guess. A guess may lead to a write, which the store compares with what is there; whatever would
    /// change nothing has to be said of the record itself.
    fn venture(&mut self, shared: &Shared, guess: Option<&Record>) -> Step {
        match decide(guess, &self.command, self.now, shared.settings.retention) {
            Decision::Write(change, answer) => Step::Swap(change, answer),
            Decision::Answer(_) | Decision::Refuse(_) => Step::Load,
        }
    }

    /// Decides upon the record itself.
    fn settle(&mut self, shared: &Shared, seen: Seen) -> Step {
        self.now = self.now.max(seen.now);
        if let Some(written) = self.unsure.take()
            && seen.record.as_ref() == Some(&written.next)
        {
            return Step::Done(Ok((written.answer, Some(written.next))));
        }
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            let reason =
                format!("it refused a change {MAX_ROUNDS} times in a row; it does not keep its contract");
            return Step::Done(Err(StoreError::Unavailable { reason }.into()));
        }
        match decide(seen.record.as_ref(), &self.command, seen.now, shared.settings.retention) {
            Decision::Write(change, answer) => Step::Swap(change, answer),
            Decision::Answer(answer) => Step::Done(Ok((answer, None))),
            Decision::Refuse(error) => Step::Done(Err(error)),
        }
    }

    fn take_in(&mut self, shared: &Shared, key: &Key, response: Response) -> Step {
        match response {
            Response::Swap(Ok(Swap::Stored), Written { next, answer }) => {
                shared.watches.written(key, &next, next.body().not_before(self.now));
                Step::Done(Ok((answer, Some(next))))
            }
            Response::Swap(Ok(Swap::Conflict(seen) | Swap::OutOfWindow(seen)), _)
            | Response::Load(Ok(seen)) => self.settle(shared, seen),
            Response::Swap(Err(error @ StoreError::Indeterminate { .. }), written) => {
                self.doubts += 1;
                if self.doubts > MAX_DOUBTS {
                    return Step::Done(Err(error.into()));
                }
                self.doubt = Some(error);
                self.unsure = Some(written);
                Step::Load
            }
            Response::Swap(Err(error), _) | Response::Load(Err(error)) => {
                Step::Done(Err(self.doubt.take().unwrap_or(error).into()))
            }
        }
    }
}
