//! The adapter that turns a [`CompareAndSwap`] into a [`Store`].
//!
//! It has the only retry loop over a store: expect a record, decide, swap. A conflict returns the
//! current record, and the loop decides again on that. The loop runs on the caller's stack while
//! the store answers immediately. From the first reply that does not, it runs in a future.

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

/// The number of consecutive rounds after which the store is assumed to break its contract. Each
/// conflict means that another caller has written.
const MAX_ROUNDS: u32 = 10_000;
/// The number of indeterminate writes that are retried. The error of the next one is returned.
const MAX_INDETERMINATE: u32 = 3;
/// The maximum time between the decision on an outcome and its write, for stores that do not stamp
/// the outcome with the time of the write. Doubles with each round, so that an outcome can be
/// written to a slow store too.
const OUTCOME_AGE: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 20;

/// A [`Store`] over a [`CompareAndSwap`].
///
/// `Cas` decides each operation on a copy of the record, and writes the result to the store if the
/// record is still the same. After a conflict it tries again. If the reply to a write is lost, it
/// reads the record to find out whether the write happened.
///
/// The engines of a process that work over the same records should share one `Cas`, which notifies
/// each engine of the changes that the others make.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Cas, CompareAndSwap, Engine};
///
/// /// Returns an engine over a custom store.
/// fn engine(store: impl CompareAndSwap) -> Result<Engine, lessor_core::Error> {
///     Engine::new(Arc::new(Cas::new(store)))
/// }
/// ```
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

    /// Returns a store over `store`. The latter notifies `engines` of changes by other processes.
    pub fn with_subscribers(store: S, engines: Arc<Subscribers>) -> Self {
        Self(Arc::new(Inner { engines, store }))
    }
}

impl<S: CompareAndSwap + ?Sized> Cas<S> {
    /// Returns the wrapped store.
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

/// An operation that waits for a reply of the store.
struct InFlight<S: ?Sized> {
    inner: Arc<Inner<S>>,
    operation: OwnedOperation,
    attempts: Attempts,
    request: Request,
}

/// The attempts of one operation so far.
struct Attempts {
    rounds: u32,
    /// The number of indeterminate writes.
    indeterminate: u32,
    /// The latest error of an indeterminate write. It replaces every later error, because such a
    /// write may still happen.
    indeterminate_error: Option<Box<StoreError>>,
    unconfirmed: Unconfirmed<Answer>,
    /// The latest time that the store has returned.
    now: Timestamp,
}

struct Attempt {
    next: Record,
    answer: Answer,
}

enum Request {
    Load(Reply<Snapshot>),
    /// The attempt is `None` after the response was taken.
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

/// The next request to the store.
#[expect(clippy::large_enum_variant, reason = "it is matched where it is made")]
enum Next {
    Load,
    /// Replaces the given record, which is the basis of the decision.
    Swap(Option<Record>, Write, Answer),
}

impl<S: CompareAndSwap + ?Sized> Inner<S> {
    #[inline]
    fn execute(self: &Arc<Self>, operation: &mut Operation<'_>) -> Execution {
        // A decision on a guessed record needs the store's time. Otherwise the record is read, and
        // the time comes with it.
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

    /// Begins an operation at `now`. Also completes it if the store answers immediately.
    #[inline]
    fn begin(self: &Arc<Self>, operation: &mut Operation<'_>, now: Timestamp) -> Execution {
        // A decision to write is safe on a guessed record, because the store compares. An answer
        // without a write needs the actual record.
        let decision = operation.guess().map(|record| (operation.decide(record.as_ref(), now), record));
        let request = match decision {
            // The time may be ahead of the store's clock, so it cannot prove that an outcome is
            // late.
            Some((Decision::Write(write, answer), expected)) if !is_late(&write) => {
                let key = operation.to_key();
                let swap = self.store.compare_and_swap(&key, &change(&write, expected.as_ref(), 0));
                match swap.try_take() {
                    // The common case ends here.
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
            Ok(response) => self.run(operation, now, response),
            Err(request) => self.later(operation, Attempts::new(now), request),
        }
    }

    /// Runs the loop on the caller's stack, beginning with the first response.
    #[inline(never)]
    fn run(
        self: &Arc<Self>,
        operation: &mut Operation<'_>,
        now: Timestamp,
        mut response: Response,
    ) -> Execution {
        let mut attempts = Attempts::new(now);
        let key = operation.to_key();
        loop {
            let next = match attempts.on_response(response, |record, now| operation.decide(record, now)) {
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

    /// Continues the loop in a future.
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

    /// Performs a plain conditional write, without retries.
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

/// No field is pinned in place: the replies have their own boxes.
impl<S: ?Sized> Unpin for InFlight<S> {}

impl<S: CompareAndSwap + ?Sized> Future for InFlight<S> {
    type Output = Result<Executed, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Poll::Ready(response) = this.request.poll(context) {
            let operation = &this.operation;
            let decide = |record: Option<&Record>, now| operation.decide(record, now);
            let next = match this.attempts.on_response(response, decide) {
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

/// Returns the conditional write of a decision. An outcome gets a limited time window.
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

    /// Returns the response if it is available, and else the request, without polling it.
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
        Self {
            rounds: 0,
            indeterminate: 0,
            indeterminate_error: None,
            unconfirmed: Unconfirmed::default(),
            now,
        }
    }

    #[inline]
    fn on_response(
        &mut self,
        response: Response,
        decide: impl FnOnce(Option<&Record>, Timestamp) -> Decision,
    ) -> Step {
        match response {
            Response::Swap(Ok(CasResult::Written), Attempt { next, answer }) => Step::Stored(answer, next),
            Response::Swap(Ok(CasResult::WrittenAs(next)), Attempt { answer, .. }) => {
                Step::Stored(answer, next)
            }
            Response::Swap(Ok(CasResult::Conflict(current)), _) => self.decide(current, false, decide),
            Response::Swap(Ok(CasResult::Rejected(current)), _) | Response::Load(Ok(current)) => {
                self.decide(current, true, decide)
            }
            Response::Swap(Err(error @ StoreError::Indeterminate(_)), Attempt { next, answer }) => {
                self.indeterminate += 1;
                if self.indeterminate > MAX_INDETERMINATE {
                    return Step::Failed(error);
                }
                self.indeterminate_error = Some(Box::new(error));
                self.unconfirmed.add(next, answer);
                Step::Next(Next::Load)
            }
            Response::Swap(Err(error), _) | Response::Load(Err(error)) => {
                Step::Failed(self.indeterminate_error.take().map_or(error, |indeterminate| *indeterminate))
            }
        }
    }

    /// Decides on the current record. If its time is not `exact`, it may be ahead of the store's
    /// clock.
    fn decide(
        &mut self,
        current: Snapshot,
        exact: bool,
        decide: impl FnOnce(Option<&Record>, Timestamp) -> Decision,
    ) -> Step {
        self.now = self.now.max(current.now);
        if let Some(record) = &current.record
            && let Some(answer) = self.unconfirmed.find(record)
        {
            return Step::Stored(found(record, answer), record.clone());
        }
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            let reason = format!("it rejected a write {MAX_ROUNDS} times in a row, against its contract");
            return Step::Failed(StoreError::unavailable(reason));
        }
        match decide(current.record.as_ref(), current.now) {
            Decision::Write(write, _) if is_late(&write) && !exact => Step::Next(Next::Load),
            Decision::Write(write, answer) => Step::Next(Next::Swap(current.record, write, answer)),
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
