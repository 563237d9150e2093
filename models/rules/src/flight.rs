//! One operation in the library's retry loop.
//!
//! The loop's state can neither be copied nor compared. So an operation is stored as its beginning
//! and the store's responses so far. Each step runs the loop again from its beginning. The loop
//! depends only on these responses, so it reaches the same point.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use lessor_core::rules::Answer;
use lessor_core::store::{
    CasResult, Closing, ConditionalWrite, OwnedOperation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{Cas, CompareAndSwap, Durability, Error, Key, Pending, Record, StoreError, Timestamp};

use crate::words::{Cmd, RETENTION, Rec, START, Time, at};

pub(crate) type Outcome = Result<(Answer, Option<Record>), Error>;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("key").unwrap());

/// The record that the library expects before it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guess {
    Absent,
    Record(Rec),
    None,
}

/// A response of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Response {
    Stored,
    /// This record was stored, with the time of the write.
    Stamped(Rec),
    /// The record and the clock. As the response to a write, a conflict.
    Current(Option<Rec>, Time),
    /// The record and the clock. The clock or the token did not allow the write.
    Rejected(Option<Rec>, Time),
    /// The write may have happened, or may still happen.
    Indeterminate,
    /// Nothing happened.
    Unavailable,
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "a model need not be fast")]
pub(crate) enum Request {
    Load,
    Swap(Put),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    pub(crate) expected: Option<Rec>,
    pub(crate) next: Rec,
    pub(crate) not_before: Option<Time>,
    pub(crate) not_after: Option<Time>,
    pub(crate) is_outcome: bool,
}

impl Put {
    pub(crate) fn change(&self) -> ConditionalWrite<'_> {
        let expected = self.expected.as_ref().map(|rec| &rec.record);
        let change = ConditionalWrite::new(expected, &self.next.record)
            .with_window(self.not_before.map(at), self.not_after.map(at));
        if self.is_outcome { change.as_outcome() } else { change }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    pub(crate) cmd: Cmd,
    guess: Guess,
    now: Time,
    responses: Vec<Response>,
    pub(crate) request: Request,
    /// True if the operation was sent before, with the same lease id.
    pub(crate) is_again: bool,
}

impl InFlight {
    /// Begins an operation at `now`, with the caller's guess of the record.
    pub(crate) fn begin(cmd: Cmd, guess: Guess, now: Time) -> Self {
        let request = match run(cmd, &guess, now, &[]) {
            Ok(request) => request,
            Err(outcome) => unreachable!("{cmd:?} ended with {outcome:?} before a request to the store"),
        };
        let now = if request == Request::Load { 0 } else { now };
        Self { cmd, guess, now, responses: Vec::new(), request, is_again: false }
    }

    /// Handles a response of the store. Returns the outcome if the operation ends with it.
    pub(crate) fn on_response(&mut self, response: Response) -> Option<Outcome> {
        let is_seen = matches!(response, Response::Current(..) | Response::Rejected(..));
        if is_seen && !self.is_unconfirmed() {
            // The loop now depends only on this record, and on whether its time is exact. The
            // number of rounds is far below the limit.
            if self.request == Request::Load || matches!(response, Response::Rejected(..)) {
                (self.guess, self.now, self.responses) = (Guess::None, 0, Vec::new());
            } else if matches!(self.cmd, Cmd::Acquire(..)) {
                (self.guess, self.now, self.responses) = (Guess::Absent, START, Vec::new());
            }
        }
        self.responses.push(response);
        match run(self.cmd, &self.guess, self.now, &self.responses) {
            Ok(request) => {
                self.request = request;
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    /// Returns whether one of its writes is unconfirmed.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.responses.contains(&Response::Indeterminate)
    }
}

/// Runs the loop to its end, or to the first request without a response.
#[expect(clippy::result_large_err, reason = "a model need not be fast")]
fn run(cmd: Cmd, guess: &Guess, now: Time, responses: &[Response]) -> Result<Request, Outcome> {
    let script = Arc::new(Script {
        responses: responses.to_vec(),
        now: at(now),
        next: AtomicUsize::new(0),
        asked: Mutex::new(None),
    });
    let cas = Cas::new(Arc::clone(&script));
    let command = cmd.command();
    let rules = move |record: Option<&Record>, now| {
        crate::machine::decide(record, &command, now, Duration::from_micros(RETENTION))
    };
    let operation = OwnedOperation::with_rules(KEY.clone(), rules);
    let operation = match guess {
        Guess::Absent => operation.expecting(None),
        Guess::Record(rec) => operation.expecting(Some(rec.record.clone())),
        Guess::None => operation,
    };
    match operation.send(&cas).try_take() {
        Ok(Ok(executed)) => Err(executed.into_answer()),
        Ok(Err(error)) => Err(Err(error.into())),
        Err(_) => Ok(script.asked.lock().unwrap().take().expect("the loop waits for an answer")),
    }
}

/// A store with the given responses and no others.
#[derive(Debug)]
struct Script {
    responses: Vec<Response>,
    now: Timestamp,
    next: AtomicUsize,
    asked: Mutex<Option<Request>>,
}

impl CompareAndSwap for Script {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.now))
    }

    fn load(&self, _: &Key) -> Reply<Snapshot> {
        match self.next() {
            Some(Response::Current(record, now) | Response::Rejected(record, now)) => {
                Pending::ready(Ok(seen(record.as_ref(), *now)))
            }
            Some(Response::Unavailable) => Pending::ready(Err(unavailable())),
            Some(response) => unreachable!("{response:?} is not a response to a load"),
            None => self.ask(Request::Load),
        }
    }

    fn compare_and_swap(&self, _: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        match self.next() {
            Some(Response::Stored) => Pending::ready(Ok(CasResult::Written)),
            Some(Response::Stamped(rec)) => Pending::ready(Ok(CasResult::WrittenAs(rec.record.clone()))),
            Some(Response::Current(record, now)) => {
                Pending::ready(Ok(CasResult::Conflict(seen(record.as_ref(), *now))))
            }
            Some(Response::Rejected(record, now)) => {
                Pending::ready(Ok(CasResult::Rejected(seen(record.as_ref(), *now))))
            }
            Some(Response::Indeterminate) => Pending::ready(Err(StoreError::indeterminate(""))),
            Some(Response::Unavailable) => Pending::ready(Err(unavailable())),
            None => self.ask(Request::Swap(Put {
                expected: change.expected.cloned().map(Rec::new),
                next: Rec::new(change.next.clone()),
                not_before: change.not_before.map(Timestamp::as_micros),
                not_after: change.not_after.map(Timestamp::as_micros),
                is_outcome: change.is_outcome,
            })),
        }
    }

    fn scan(&self, _: Scan) -> Reply<Page> {
        unreachable!("the loop does not scan")
    }

    fn purge(&self, _: usize) -> Reply<Purged> {
        unreachable!("the loop does not purge")
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}

impl Script {
    fn next(&self) -> Option<&Response> {
        self.responses.get(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn ask<T: Send + 'static>(&self, ask: Request) -> Reply<T> {
        *self.asked.lock().unwrap() = Some(ask);
        Pending::later(std::future::pending())
    }
}

fn seen(record: Option<&Rec>, now: Time) -> Snapshot {
    Snapshot::new(record.map(|rec| rec.record.clone()), at(now))
}

fn unavailable() -> StoreError {
    StoreError::unavailable("")
}
