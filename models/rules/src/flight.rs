//! One operation in the library's retry loop.
//!
//! The loop's own state can neither be copied nor compared. So an operation is stored as its beginning and the store's answers so
//! far. Each step runs the loop again from its beginning. The loop depends on nothing but these answers, so it reaches the same point.

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

/// The record that the library assumes before it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guess {
    Absent,
    Record(Rec),
    None,
}

/// An answer of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Stored,
    /// This record is stored, with the time of the write.
    Stamped(Rec),
    /// The record and the clock. As the answer to a write: a conflict.
    Seen(Option<Rec>, Time),
    /// The same: the clock or the token did not allow the write.
    OutOfWindow(Option<Rec>, Time),
    /// The write may have happened, or may happen later.
    Doubt,
    /// Nothing happened.
    Unavailable,
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
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
        ConditionalWrite {
            expected: self.expected.as_ref().map(|rec| &rec.record),
            next: &self.next.record,
            not_before: self.not_before.map(at),
            not_after: self.not_after.map(at),
            is_outcome: self.is_outcome,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) cmd: Cmd,
    guess: Guess,
    now: Time,
    said: Vec<Said>,
    pub(crate) request: Ask,
    /// The operation was sent before, under the same lease id.
    pub(crate) is_again: bool,
}

impl Flight {
    /// The operation is begun at `now`, by the caller's idea of it.
    pub(crate) fn begin(cmd: Cmd, guess: Guess, now: Time) -> Self {
        let request = match run(cmd, &guess, now, &[]) {
            Ok(request) => request,
            Err(outcome) => unreachable!("{cmd:?} came to {outcome:?} before the store was asked"),
        };
        let now = if request == Ask::Load { 0 } else { now };
        Self { cmd, guess, now, said: Vec::new(), request, is_again: false }
    }

    /// Takes in an answer of the store. Returns the outcome if the operation ends with it.
    pub(crate) fn take_in(&mut self, said: Said) -> Option<Outcome> {
        let is_seen = matches!(said, Said::Seen(..) | Said::OutOfWindow(..));
        if is_seen && !self.is_doubted() {
            // From here on only this record, and whether its time is exact, matters to the loop. The number of rounds is far
            // from its limit.
            if self.request == Ask::Load || matches!(said, Said::OutOfWindow(..)) {
                (self.guess, self.now, self.said) = (Guess::None, 0, Vec::new());
            } else if matches!(self.cmd, Cmd::Acquire(..)) {
                (self.guess, self.now, self.said) = (Guess::Absent, START, Vec::new());
            }
        }
        self.said.push(said);
        match run(self.cmd, &self.guess, self.now, &self.said) {
            Ok(request) => {
                self.request = request;
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    /// Whether one of its writes was given up.
    pub(crate) fn is_doubted(&self) -> bool {
        self.said.contains(&Said::Doubt)
    }
}

/// Runs the loop to its end, or to the first request that the store has not answered.
fn run(cmd: Cmd, guess: &Guess, now: Time, said: &[Said]) -> Result<Ask, Outcome> {
    let script = Arc::new(Script {
        said: said.to_vec(),
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

/// A store that has given these answers, and gives no more.
#[derive(Debug)]
struct Script {
    said: Vec<Said>,
    now: Timestamp,
    next: AtomicUsize,
    asked: Mutex<Option<Ask>>,
}

impl CompareAndSwap for Script {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.now))
    }

    fn load(&self, _: &Key) -> Reply<Snapshot> {
        match self.next() {
            Some(Said::Seen(record, now) | Said::OutOfWindow(record, now)) => {
                Pending::ready(Ok(seen(record.as_ref(), *now)))
            }
            Some(Said::Unavailable) => Pending::ready(Err(unavailable())),
            Some(said) => unreachable!("{said:?} is no answer to a load"),
            None => self.ask(Ask::Load),
        }
    }

    fn compare_and_swap(&self, _: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        match self.next() {
            Some(Said::Stored) => Pending::ready(Ok(CasResult::Written)),
            Some(Said::Stamped(rec)) => Pending::ready(Ok(CasResult::WrittenAs(rec.record.clone()))),
            Some(Said::Seen(record, now)) => {
                Pending::ready(Ok(CasResult::Conflict(seen(record.as_ref(), *now))))
            }
            Some(Said::OutOfWindow(record, now)) => {
                Pending::ready(Ok(CasResult::Rejected(seen(record.as_ref(), *now))))
            }
            Some(Said::Doubt) => Pending::ready(Err(StoreError::indeterminate(""))),
            Some(Said::Unavailable) => Pending::ready(Err(unavailable())),
            None => self.ask(Ask::Swap(Put {
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
    fn next(&self) -> Option<&Said> {
        self.said.get(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn ask<T: Send + 'static>(&self, ask: Ask) -> Reply<T> {
        *self.asked.lock().unwrap() = Some(ask);
        Pending::later(std::future::pending())
    }
}

fn seen(record: Option<&Rec>, now: Time) -> Snapshot {
    Snapshot { record: record.map(|rec| rec.record.clone()), now: at(now) }
}

fn unavailable() -> StoreError {
    StoreError::unavailable("")
}
