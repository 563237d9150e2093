//! The only retry loop of the workspace: guess the record, decide, swap; a conflict shows the current record, decide
//! again. It runs on the caller's stack as long as the store answers at once, and in a future from then on.

use std::future::{self, Future};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::Shared;
use crate::error::Error;
use crate::key::Key;
use crate::machine::{Answer, Command, Decision, Write, decide, found};
use crate::pending::Pending;
use crate::record::Record;
use crate::store::{Change, Reply, Seen, StoreError, Swap};
use crate::time::Timestamp;

/// Each conflict means that somebody else got on, so this many in a row mean a store that does not keep its contract.
const MAX_ROUNDS: u32 = 10_000;
/// How often an indeterminate write is looked into before the caller is told.
const MAX_DOUBTS: u32 = 3;
/// An outcome has the time of its decision where the store does not give it that of the write. It is decided again if it was not
/// written within this time, which doubles with each round, so that it gets through on the slowest store.
const OUTCOME_AGE: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 20;

/// What an operation came to, and the record it wrote if it wrote one.
pub(crate) type Outcome = Result<(Answer, Option<Record>), Error>;

/// What the engine believes is stored, before it has looked.
#[derive(Clone, Copy)]
pub(crate) enum Guess<'a> {
    /// Nothing, as for a fresh key.
    Absent,
    /// This, as for a holder that wrote it.
    Record(&'a Record),
    /// No idea: look first.
    None,
}

pub(crate) enum Begun {
    Done(Outcome),
    Later(Box<Flight>),
}

/// An operation whose store has not answered yet.
pub(crate) struct Flight {
    command: Command,
    drive: Drive,
    request: Request,
}

struct Drive {
    rounds: u32,
    doubts: u32,
    /// Why it is not known whether a write happened. It stays: an early write may land late.
    doubt: Option<Box<StoreError>>,
    /// The writes that may have happened, or may happen yet: an early one may land between a read and the next write.
    unsure: Vec<Written>,
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
    /// It was answered.
    Spent,
}

enum Response {
    Load(Result<Seen, StoreError>),
    Swap(Result<Swap, StoreError>, Written),
}

enum Step {
    Done(Outcome),
    Load,
    /// Swap the record that was decided upon.
    Swap(Option<Record>, Write, Answer),
}

/// Begins an operation at `now`, and ends it as well if the store answers at once.
#[inline]
pub(crate) fn begin(
    shared: &Shared,
    key: &Key,
    command: &Command,
    guess: Guess<'_>,
    now: Timestamp,
) -> Begun {
    let guessed = match guess {
        Guess::None => None,
        Guess::Absent => Some(None),
        Guess::Record(record) => Some(Some(record)),
    };
    // A guess may lead to a write, which the store compares with what is there; whatever would change nothing has to
    // be said of the record itself.
    let decision = guessed.map(|record| (record, decide(record, command, now, shared.settings.retention)));
    let request = match decision {
        // What was told of the time may be ahead of it. That an outcome is late is not taken from that.
        Some((expected, Decision::Write(write, answer))) if !is_late(&write) => {
            match shared.store.swap(key, &change(&write, expected, 0)).try_take() {
                // What almost always happens, without another move of anything.
                Ok(Ok(Swap::Stored)) => {
                    shared.watches.written(key, &write.next, now);
                    return Begun::Done(Ok((answer, Some(write.next))));
                }
                Ok(swap) => Request::Swap(Pending::ready(swap), Written { next: write.next, answer }),
                Err(reply) => {
                    let request = Request::Swap(reply, Written { next: write.next, answer });
                    return Begun::Later(Flight::new(command, Drive::new(now), request));
                }
            }
        }
        _ => Request::Load(shared.store.load(key)),
    };
    go_on(shared, key, command, now, request)
}

/// The rest of an operation whose first guess did not do.
#[inline(never)]
fn go_on(shared: &Shared, key: &Key, command: &Command, now: Timestamp, mut request: Request) -> Begun {
    let mut drive = Drive::new(now);
    loop {
        let step = match request.try_take() {
            Ok(response) => drive.take_in(shared, key, command, response),
            Err(request) => return Begun::Later(Flight::new(command, drive, request)),
        };
        request = match step {
            Step::Done(outcome) => return Begun::Done(outcome),
            step => send(shared, key, step, drive.rounds),
        };
    }
}

impl Flight {
    fn new(command: &Command, drive: Drive, request: Request) -> Box<Self> {
        Box::new(Self { command: command.clone(), drive, request })
    }

    /// Sees the operation through. It stays in its box meanwhile: thousands may be under way, and what each of them takes is what
    /// does not fit into a processor's cache.
    pub(crate) async fn land(mut self: Box<Self>, shared: &Shared, key: &Key) -> Outcome {
        let flight = &mut *self;
        loop {
            let response = future::poll_fn(|context| flight.request.poll(context)).await;
            flight.request = match flight.drive.take_in(shared, key, &flight.command, response) {
                Step::Done(outcome) => return outcome,
                step => send(shared, key, step, flight.drive.rounds),
            };
        }
    }
}

/// Begins an operation, and sees it through.
pub(crate) async fn run(
    shared: &Shared,
    key: &Key,
    command: &Command,
    guess: Guess<'_>,
    now: Timestamp,
) -> Outcome {
    match begin(shared, key, command, guess, now) {
        Begun::Done(outcome) => outcome,
        Begun::Later(flight) => flight.land(shared, key).await,
    }
}

fn change<'a>(write: &'a Write, expected: Option<&'a Record>, rounds: u32) -> Change<'a> {
    let mut change = write.change(expected);
    if write.is_outcome {
        let age = OUTCOME_AGE * (1 << rounds.min(MAX_DOUBLINGS));
        let end = write.next.done_at().unwrap_or(Timestamp::EPOCH).saturating_add(age);
        change.not_after = Some(change.not_after.map_or(end, |at| at.min(end)));
    }
    change
}

fn is_late(write: &Write) -> bool {
    write.is_outcome && write.next.is_late()
}

fn send(shared: &Shared, key: &Key, step: Step, rounds: u32) -> Request {
    match step {
        Step::Swap(current, write, answer) => {
            let reply = shared.store.swap(key, &change(&write, current.as_ref(), rounds));
            Request::Swap(reply, Written { next: write.next, answer })
        }
        Step::Load | Step::Done(_) => Request::Load(shared.store.load(key)),
    }
}

impl Request {
    /// The answer if it is there already, else the same request, which was not polled.
    #[inline]
    fn try_take(self) -> Result<Response, Self> {
        match self {
            Self::Load(reply) => reply.try_take().map(Response::Load).map_err(Self::Load),
            Self::Swap(reply, written) => match reply.try_take() {
                Ok(swap) => Ok(Response::Swap(swap, written)),
                Err(reply) => Err(Self::Swap(reply, written)),
            },
            Self::Spent => Err(Self::Spent),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response> {
        match std::mem::replace(self, Self::Spent) {
            Self::Load(mut reply) => match Pin::new(&mut reply).poll(context) {
                Poll::Ready(seen) => return Poll::Ready(Response::Load(seen)),
                Poll::Pending => *self = Self::Load(reply),
            },
            Self::Swap(mut reply, written) => match Pin::new(&mut reply).poll(context) {
                Poll::Ready(swap) => return Poll::Ready(Response::Swap(swap, written)),
                Poll::Pending => *self = Self::Swap(reply, written),
            },
            Self::Spent => {}
        }
        Poll::Pending
    }
}

impl Drive {
    fn new(now: Timestamp) -> Self {
        Self { rounds: 0, doubts: 0, doubt: None, unsure: Vec::new(), now }
    }

    #[inline]
    fn take_in(&mut self, shared: &Shared, key: &Key, command: &Command, response: Response) -> Step {
        match response {
            Response::Swap(Ok(Swap::Stored), Written { next, answer }) => {
                shared.watches.written(key, &next, self.now);
                Step::Done(Ok((answer, Some(next))))
            }
            Response::Swap(Ok(Swap::Stamped(next)), Written { answer, .. }) => {
                shared.watches.written(key, &next, self.now);
                Step::Done(Ok((answer, Some(next))))
            }
            Response::Swap(Ok(Swap::Conflict(seen)), _) => self.settle(shared, key, command, seen, false),
            Response::Swap(Ok(Swap::OutOfWindow(seen)), _) | Response::Load(Ok(seen)) => {
                self.settle(shared, key, command, seen, true)
            }
            Response::Swap(Err(error @ StoreError::Indeterminate { .. }), written) => {
                self.doubts += 1;
                if self.doubts > MAX_DOUBTS {
                    return Step::Done(Err(error.into()));
                }
                self.doubt = Some(Box::new(error));
                self.unsure.push(written);
                Step::Load
            }
            Response::Swap(Err(error), _) | Response::Load(Err(error)) => {
                Step::Done(Err(self.doubt.take().map_or(error, |doubt| *doubt).into()))
            }
        }
    }

    /// Decides upon the record itself. Unless the time is `exact`, it may be ahead of the store's clock.
    fn settle(&mut self, shared: &Shared, key: &Key, command: &Command, seen: Seen, exact: bool) -> Step {
        self.now = self.now.max(seen.now);
        if let Some(record) = &seen.record
            && let Some(at) = self.unsure.iter().position(|written| record.is_write(&written.next))
        {
            let written = self.unsure.swap_remove(at);
            shared.watches.written(key, record, self.now);
            return Step::Done(Ok((found(record, written.answer), seen.record)));
        }
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            let reason =
                format!("it refused a change {MAX_ROUNDS} times in a row; it does not keep its contract");
            return Step::Done(Err(StoreError::Unavailable { reason }.into()));
        }
        match decide(seen.record.as_ref(), command, seen.now, shared.settings.retention) {
            Decision::Write(write, _) if is_late(&write) && !exact => Step::Load,
            Decision::Write(write, answer) => Step::Swap(seen.record, write, answer),
            Decision::Answer(answer) => Step::Done(Ok((answer, None))),
            Decision::Refuse(error) => Step::Done(Err(error)),
        }
    }
}
