//! The adapter that makes a [`Store`] of a store that compares and swaps.
//!
//! It holds the only retry loop of the workspace: expect a record, decide, swap; a conflict brings the current record, decide again.
//! The loop runs on the caller's stack as long as the store answers at once, and in a future from then on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::write::{ConditionalWrite, OwnedConditionalWrite};
use crate::rules::{Answer, Decision, Write, found};
use crate::store::closing::Closing;
use crate::store::contract::{CompareAndSwap, Store};
use crate::store::notifier::ChangeNotifier;
use crate::store::operation::{Executed, Execution, Operation, Outcome, OwnedOperation};
use crate::store::subscribers::Subscribers;
use crate::store::types::{CasResult, Durability, Page, Purged, Reply, Scan};
use crate::store::unconfirmed::Unconfirmed;
use crate::sync::pending::Pending;

/// The number of conflicts in a row after which the store is taken to break its contract: each one means that another caller wrote.
const MAX_ROUNDS: u32 = 10_000;
/// The number of indeterminate writes after which the caller gets the error.
const MAX_DOUBTS: u32 = 3;
/// The time within which an outcome has to be written once it is decided, where the store does not give it the time of the
/// write. It doubles with each round, so that an outcome reaches even the slowest store.
const OUTCOME_AGE: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 20;

/// A [`Store`] over a [`CompareAndSwap`].
///
/// `Cas` decides each operation on a copy of the record and has the store write the result if the record is still the same. It
/// tries again after a conflict, and finds out by reading whether a write happened whose reply was lost.
///
/// All engines over the same records in one process share one `Cas`: it notifies each engine of the others' changes.
pub struct Cas<S: ?Sized>(Arc<Inner<S>>);

struct Inner<S: ?Sized> {
    engines: Arc<Subscribers>,
    store: S,
}

impl<S: CompareAndSwap> Cas<S> {
    /// Returns a store over `store`.
    pub fn new(store: S) -> Self {
        Self::with_subscribers(store, Arc::default())
    }

    /// Returns a store over `store`, which notifies `engines` by itself of changes that other processes make.
    pub fn with_subscribers(store: S, engines: Arc<Subscribers>) -> Self {
        Self(Arc::new(Inner { engines, store }))
    }
}

impl<S: CompareAndSwap + ?Sized> Cas<S> {
    /// Returns the store below.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.0.store
    }
}

impl<S: CompareAndSwap + ?Sized> Store for Cas<S> {
    fn now(&self) -> Reply<Timestamp> {
        self.0.store.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.0.store.load(key)
    }

    #[inline]
    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.0.execute(operation)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.0.store.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.0.store.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.0.store.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.0.store.close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.0.engines.add(notifier);
    }
}

/// An operation that waits for the store.
struct InFlight<S: ?Sized> {
    inner: Arc<Inner<S>>,
    operation: OwnedOperation,
    attempts: Attempts,
    request: Request,
}

/// The attempts of one operation so far.
struct Attempts {
    rounds: u32,
    doubts: u32,
    /// The first reason for which a write is indeterminate. It is reported with every later error: an early write may happen late.
    doubt: Option<Box<StoreError>>,
    unconfirmed: Unconfirmed<Answer>,
    /// The latest time that the store has reported.
    now: Timestamp,
}

struct Attempt {
    next: Record,
    answer: Answer,
}

enum Request {
    Load(Reply<Snapshot>),
    /// The attempt is gone once the response was taken.
    Swap(Reply<CasResult>, Option<Attempt>),
}

enum Response {
    Load(Result<Snapshot, StoreError>),
    Swap(Result<CasResult, StoreError>, Attempt),
}

/// The consequence of one response.
enum Step {
    Stored(Answer, Record),
    Answered(Result<Answer, Error>),
    Failed(StoreError),
    Next(Next),
}

#[expect(clippy::large_enum_variant, reason = "it is matched where it is made")]
enum Next {
    Load,
    /// Swap the record that was decided upon.
    Swap(Option<Record>, Write, Answer),
}

impl<S: CompareAndSwap + ?Sized> Inner<S> {
    #[inline]
    fn execute(self: &Arc<Self>, operation: &mut Operation<'_>) -> Execution {
        // A guess is decided by the store's time. Without one, the record is read, and the time comes with it.
        if !operation.has_guess() {
            return match operation.as_swap() {
                Some(change) => Execution::Later(self.swap(change.clone(), operation.to_key())),
                None => self.begin(operation, Timestamp::EPOCH),
            };
        }
        match self.store.now().try_take() {
            Ok(Ok(now)) => self.begin(operation, now),
            Ok(Err(error)) => Execution::failed(error),
            Err(now) => self.begin_later(operation.to_owned(), now),
        }
    }

    #[inline(never)]
    fn begin_later(self: &Arc<Self>, operation: OwnedOperation, now: Reply<Timestamp>) -> Execution {
        let inner = Arc::clone(self);
        Execution::Later(Pending::later(async move {
            let attempts = Attempts::new(now.await?);
            let request = Request::Load(inner.store.load(operation.key()));
            InFlight { inner, operation, attempts, request }.await
        }))
    }

    /// Begins an operation at `now`, and ends it as well if the store answers at once.
    #[inline]
    fn begin(self: &Arc<Self>, operation: &mut Operation<'_>, now: Timestamp) -> Execution {
        // A guess may lead to a write, which the store compares with its record. An answer without a write needs the record itself.
        let decision = operation.guess().map(|record| (operation.decide(record.as_ref(), now), record));
        let request = match decision {
            // The time may run ahead of the store's clock. It does not make an outcome late.
            Some((Decision::Write(write, answer), expected)) if !is_late(&write) => {
                let key = operation.to_key();
                let swap = self.store.compare_and_swap(&key, &change(&write, expected.as_ref(), 0));
                match swap.try_take() {
                    // The usual case ends here, without another move of anything.
                    Ok(Ok(CasResult::Written)) => {
                        self.engines.notify_others(&key);
                        return Execution::Done(operation.stored(&answer, &write.next, now));
                    }
                    Ok(swap) => Request::swap(Pending::ready(swap), write.next, answer),
                    Err(reply) => Request::swap(reply, write.next, answer),
                }
            }
            _ => Request::Load(self.store.load(&operation.to_key())),
        };
        match request.try_take() {
            Ok(response) => self.go_on(operation, now, response),
            Err(request) => self.later(operation, Attempts::new(now), request),
        }
    }

    /// Continues an operation after its first response.
    #[inline(never)]
    fn go_on(
        self: &Arc<Self>,
        operation: &mut Operation<'_>,
        now: Timestamp,
        mut response: Response,
    ) -> Execution {
        let mut attempts = Attempts::new(now);
        let key = operation.to_key();
        loop {
            let next = match attempts.take(response, |record, now| operation.decide(record, now)) {
                Step::Stored(answer, next) => {
                    self.engines.notify_others(&key);
                    return Execution::Done(operation.stored(&answer, &next, attempts.now));
                }
                Step::Answered(answer) => return Execution::Done(operation.answered(&answer)),
                Step::Failed(error) => return Execution::failed(error),
                Step::Next(next) => next,
            };
            response = match self.send(&key, next, attempts.rounds).try_take() {
                Ok(response) => response,
                Err(request) => return self.later(operation, attempts, request),
            };
        }
    }

    fn later(
        self: &Arc<Self>,
        operation: &mut Operation<'_>,
        attempts: Attempts,
        request: Request,
    ) -> Execution {
        let (inner, operation) = (Arc::clone(self), operation.to_owned());
        Execution::Later(Pending::later(InFlight { inner, operation, attempts, request }))
    }

    fn send(&self, key: &Key, next: Next, rounds: u32) -> Request {
        match next {
            Next::Load => Request::Load(self.store.load(key)),
            Next::Swap(current, write, answer) => {
                let reply = self.store.compare_and_swap(key, &change(&write, current.as_ref(), rounds));
                Request::swap(reply, write.next, answer)
            }
        }
    }

    /// Carries out a plain write, which is not tried again.
    #[inline(never)]
    fn swap(self: &Arc<Self>, change: OwnedConditionalWrite, key: Key) -> Reply<Executed> {
        let inner = Arc::clone(self);
        self.store.compare_and_swap(&key, &change.borrow()).map(move |swap| {
            let executed = Executed::from(Outcome::Swapped(swap?));
            if executed.is_write() {
                inner.engines.notify_others(&key);
            }
            Ok(executed)
        })
    }
}

/// Nothing in it is pinned in place: the replies are behind their own boxes.
impl<S: ?Sized> Unpin for InFlight<S> {}

impl<S: CompareAndSwap + ?Sized> Future for InFlight<S> {
    type Output = Result<Executed, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Poll::Ready(response) = this.request.poll(context) {
            let operation = &this.operation;
            let next = match this.attempts.take(response, |record, now| operation.decide(record, now)) {
                Step::Stored(answer, next) => {
                    this.inner.engines.notify_others(operation.key());
                    return Poll::Ready(Ok(Executed::stored(answer, next, this.attempts.now)));
                }
                Step::Answered(Ok(answer)) => return Poll::Ready(Ok(Outcome::Answer(answer).into())),
                Step::Answered(Err(error)) => return Poll::Ready(Ok(Outcome::Refused(error).into())),
                Step::Failed(error) => return Poll::Ready(Err(error)),
                Step::Next(next) => next,
            };
            this.request = this.inner.send(operation.key(), next, this.attempts.rounds);
        }
        Poll::Pending
    }
}

fn change<'a>(write: &'a Write, expected: Option<&'a Record>, rounds: u32) -> ConditionalWrite<'a> {
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

impl Request {
    fn swap(reply: Reply<CasResult>, next: Record, answer: Answer) -> Self {
        Self::Swap(reply, Some(Attempt { next, answer }))
    }

    /// Returns the response if it is there already, else the request, which was not polled.
    #[inline]
    #[expect(clippy::result_large_err, reason = "the request is moved on either way")]
    fn try_take(self) -> Result<Response, Self> {
        match self {
            Self::Load(reply) => reply.try_take().map(Response::Load).map_err(Self::Load),
            Self::Swap(reply, Some(attempt)) => match reply.try_take() {
                Ok(swap) => Ok(Response::Swap(swap, attempt)),
                Err(reply) => Err(Self::Swap(reply, Some(attempt))),
            },
            taken @ Self::Swap(_, None) => Err(taken),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response> {
        match self {
            Self::Load(reply) => Pin::new(reply).poll(context).map(Response::Load),
            Self::Swap(reply, attempt) => match (Pin::new(reply).poll(context), attempt.take()) {
                (Poll::Ready(swap), Some(taken)) => Poll::Ready(Response::Swap(swap, taken)),
                (_, untaken) => {
                    *attempt = untaken;
                    Poll::Pending
                }
            },
        }
    }
}

impl Attempts {
    fn new(now: Timestamp) -> Self {
        Self { rounds: 0, doubts: 0, doubt: None, unconfirmed: Unconfirmed::default(), now }
    }

    #[inline]
    fn take(
        &mut self,
        response: Response,
        decide: impl FnOnce(Option<&Record>, Timestamp) -> Decision,
    ) -> Step {
        match response {
            Response::Swap(Ok(CasResult::Written), Attempt { next, answer }) => Step::Stored(answer, next),
            Response::Swap(Ok(CasResult::WrittenAs(next)), Attempt { answer, .. }) => {
                Step::Stored(answer, next)
            }
            Response::Swap(Ok(CasResult::Conflict(seen)), _) => self.decide(seen, false, decide),
            Response::Swap(Ok(CasResult::Rejected(seen)), _) | Response::Load(Ok(seen)) => {
                self.decide(seen, true, decide)
            }
            Response::Swap(Err(error @ StoreError::Indeterminate { .. }), Attempt { next, answer }) => {
                self.doubts += 1;
                if self.doubts > MAX_DOUBTS {
                    return Step::Failed(error);
                }
                self.doubt = Some(Box::new(error));
                self.unconfirmed.add(next, answer);
                Step::Next(Next::Load)
            }
            Response::Swap(Err(error), _) | Response::Load(Err(error)) => {
                Step::Failed(self.doubt.take().map_or(error, |doubt| *doubt))
            }
        }
    }

    /// Decides upon the record that was read. Unless its time is `exact`, it may run ahead of the store's clock.
    fn decide(
        &mut self,
        seen: Snapshot,
        exact: bool,
        decide: impl FnOnce(Option<&Record>, Timestamp) -> Decision,
    ) -> Step {
        self.now = self.now.max(seen.now);
        if let Some(record) = &seen.record
            && let Some(answer) = self.unconfirmed.find(record)
        {
            return Step::Stored(found(record, answer), record.clone());
        }
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            let reason =
                format!("it refused a change {MAX_ROUNDS} times in a row; it does not keep its contract");
            return Step::Failed(StoreError::Unavailable { reason });
        }
        match decide(seen.record.as_ref(), seen.now) {
            Decision::Write(write, _) if is_late(&write) && !exact => Step::Next(Next::Load),
            Decision::Write(write, answer) => Step::Next(Next::Swap(seen.record, write, answer)),
            Decision::Answer(answer) => Step::Answered(Ok(answer)),
            Decision::Refuse(error) => Step::Answered(Err(error)),
        }
    }
}

impl<S: fmt::Debug + ?Sized> fmt::Debug for Cas<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cas").field(&&self.0.store).finish()
    }
}
