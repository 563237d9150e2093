//! The operation that the engine passes to a store: a command on one key.
//!
//! An operation contains every lease rule, so that stores implement none. The store provides the
//! record and its clock; the operation decides, changes the record, and reports the answer to its
//! caller.

mod executed;
mod lend;
mod name;
mod owned;
mod report;
mod slot;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use executed::Executed;
pub(crate) use executed::Outcome;
pub use owned::OwnedOperation;
use owned::{Rules, no_lease_id};
pub(crate) use report::Report;
use report::is_write;
pub use slot::RecordSlot;
use slot::Slot;

use crate::data::error::Error;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::Record;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::write::OwnedConditionalWrite;
use crate::rules::{
    Acquire, Answer, Command, Decision, HolderCommand, Keep, Transition, answer_to_acquire, evaluate,
    evaluate_acquire, evaluate_holder,
};
use crate::store::types::{CasResult, Reply};
use crate::sync::pending::Pending;

/// A command on one key, borrowed from a caller that waits for it.
///
/// A store executes an operation in one of two ways:
/// - If the record is in memory, the store locks it and calls [`apply`](Self::apply) with its
///   clock. Where a shared lock is cheaper, the store calls [`answer`](Self::answer) first.
/// - If the store has to wait, it keeps the operation with [`to_owned`](Self::to_owned) and returns
///   [`Execution::Later`].
///
/// [`Cas`](crate::Cas) does both for a store that compares and swaps.
pub struct Operation<'a> {
    text: &'a str,
    /// The key, if the caller has one in this form.
    known: Option<&'a Key>,
    /// The key, once it had to be created.
    made: &'a mut Option<Key>,
    request: Request<'a>,
    keep: Keep,
    guess: Guess<'a>,
    engine: Option<&'a dyn EngineParts>,
    /// True if the caller chose the lease id, or it has been generated.
    has_id: bool,
    /// True if the lease id and the holder's label are set.
    is_prepared: bool,
    /// Receives the answer while the record is locked.
    sink: &'a mut (dyn FnMut(Report<'_>) + Send + Sync),
}

/// The functions of an engine that an operation uses.
pub(crate) trait EngineParts: Sync {
    fn draw_lease_id(&self) -> Result<LeaseId, Error>;
    fn default_holder(&self) -> Option<&str>;
    /// Returns whether a caller may wait for the key, or watch a lease of it.
    fn is_watched(&self, key: &Key) -> bool;
}

enum Request<'a> {
    Acquire(&'a mut Acquire),
    HolderCommand(&'a LeaseId, &'a HolderCommand),
    Command(&'a Command),
    Rules(&'a Arc<Rules>),
    Swap(&'a OwnedConditionalWrite),
}

/// The record that the engine expects under the key before anything has been read.
#[derive(Clone, Copy)]
pub(crate) enum Guess<'a> {
    /// No record, as for a new key.
    Absent,
    /// The record that was granted to this holder.
    Granted(LeaseId, &'a Granted),
    /// The record that this holder wrote last.
    Record(&'a Record),
    /// Unknown: the record is read first.
    None,
}

/// Proof that an operation was applied to the record. The answer is in the operation.
#[derive(Clone, Copy, Debug)]
#[must_use = "return it to the engine in `Execution::Done`"]
pub struct Applied {
    is_write: bool,
    is_end: bool,
}

impl Applied {
    /// Returns whether the record was changed.
    #[inline]
    #[must_use]
    pub fn is_write(self) -> bool {
        self.is_write
    }

    /// Returns whether the record has ended, so that only its token matters. A store may drop it in
    /// the same atomic step if its clock has reached [`Record::purge_at`]; otherwise a purge drops
    /// it.
    #[inline]
    #[must_use]
    pub fn is_end(self) -> bool {
        self.is_end
    }

    const NOTHING: Self = Self { is_write: false, is_end: false };
    const WRITE: Self = Self { is_write: true, is_end: false };

    fn of(is_write: bool) -> Self {
        if is_write { Self::WRITE } else { Self::NOTHING }
    }
}

/// The result of [`Store::execute`](crate::Store::execute). No variant will be added, so a store
/// that wraps another one can match both.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "it is matched where it is made, and an answer at once is the common case"
)]
pub enum Execution {
    /// The operation is done, and contains its answer.
    Done(Applied),
    /// The answer arrives with this reply.
    Later(Reply<Executed>),
}

impl Execution {
    /// Returns the execution of an operation that failed immediately.
    pub fn failed(error: StoreError) -> Self {
        Self::Later(Pending::ready(Err(error)))
    }
}

impl<'a> Operation<'a> {
    #[inline]
    pub(crate) fn acquire(
        engine: &'a dyn EngineParts,
        keep: Keep,
        text: &'a str,
        made: &'a mut Option<Key>,
        acquire: &'a mut Acquire,
        has_id: bool,
        sink: &'a mut (dyn FnMut(Report<'_>) + Send + Sync),
    ) -> Self {
        let request = Request::Acquire(acquire);
        Self {
            text,
            known: None,
            made,
            request,
            keep,
            guess: Guess::Absent,
            engine: Some(engine),
            has_id,
            is_prepared: false,
            sink,
        }
    }

    #[inline]
    pub(crate) fn act(
        engine: &'a dyn EngineParts,
        keep: Keep,
        known: &'a Key,
        made: &'a mut Option<Key>,
        (lease_id, act): (&'a LeaseId, &'a HolderCommand),
        guess: Guess<'a>,
        sink: &'a mut (dyn FnMut(Report<'_>) + Send + Sync),
    ) -> Self {
        let request = Request::HolderCommand(lease_id, act);
        Self {
            text: "",
            known: Some(known),
            made,
            request,
            keep,
            guess,
            engine: Some(engine),
            has_id: true,
            is_prepared: true,
            sink,
        }
    }

    /// Returns an operation for an operator, or for the engine itself.
    pub(crate) fn command(
        engine: &'a dyn EngineParts,
        keep: Keep,
        known: &'a Key,
        made: &'a mut Option<Key>,
        command: &'a Command,
        sink: &'a mut (dyn FnMut(Report<'_>) + Send + Sync),
    ) -> Self {
        Self {
            text: "",
            known: Some(known),
            made,
            request: Request::Command(command),
            keep,
            guess: Guess::None,
            engine: Some(engine),
            has_id: true,
            is_prepared: true,
            sink,
        }
    }

    /// Returns the key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &str {
        self.known.map_or(self.text, Key::as_str)
    }

    /// Returns the key's bytes.
    #[inline]
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        self.known.map_or(self.text.as_bytes(), Key::as_bytes)
    }

    /// Returns the key, to be stored with the record. The lease shares its allocation.
    #[inline]
    pub fn to_key(&mut self) -> Key {
        match self.known {
            Some(key) => key.clone(),
            None => self.made.get_or_insert_with(|| Key::checked(self.text)).clone(),
        }
    }

    /// Returns the operation in a form that the store can keep while it waits for I/O.
    pub fn to_owned(&mut self) -> OwnedOperation {
        self.prepare();
        let key = self.to_key();
        match &self.request {
            Request::Acquire(acquire) => self.owned(key, Command::Acquire((**acquire).clone())),
            Request::HolderCommand(lease_id, act) => {
                self.owned(key, Command::Holder(**lease_id, (*act).clone()))
            }
            Request::Command(command) => self.owned(key, (*command).clone()),
            Request::Rules(rules) => OwnedOperation::of_rules(key, Arc::clone(rules)),
            Request::Swap(change) => OwnedOperation::swap(key, (*change).clone()),
        }
    }

    fn owned(&self, key: Key, command: Command) -> OwnedOperation {
        OwnedOperation::of(key, command, self.keep, self.has_id)
    }

    /// Returns the lease id of a grant that this operation may have made.
    #[inline]
    pub(crate) fn lease_id(&self) -> Option<LeaseId> {
        self.requested().filter(|_| self.has_id).map(|acquire| acquire.lease_id)
    }

    fn requested(&self) -> Option<&Acquire> {
        match &self.request {
            Request::Acquire(acquire) => Some(acquire),
            Request::Command(Command::Acquire(acquire)) => Some(acquire),
            _ => None,
        }
    }

    /// Returns the record that the engine expects: `None` if it has no expectation.
    #[inline]
    pub(crate) fn guess(&self) -> Option<Option<Record>> {
        match &self.guess {
            Guess::None => None,
            Guess::Absent => Some(None),
            Guess::Granted(lease_id, granted) => Some(Some(granted.record(*lease_id))),
            Guess::Record(record) => Some(Some((*record).clone())),
        }
    }

    #[inline]
    pub(crate) fn has_guess(&self) -> bool {
        !matches!(self.guess, Guess::None)
    }

    /// Creates the lease id and the key, which a grant needs and a refusal does not. A store may
    /// call this before it locks the record for [`apply`](Self::apply), so that the lock is held
    /// for less time. Otherwise `apply` does it.
    #[inline]
    pub fn prepare(&mut self) {
        if !self.is_prepared {
            let _ = self.to_key();
            // `apply` tries again, and reports a failure.
            let _ = self.draw();
        }
    }

    fn draw(&mut self) -> Result<(), Error> {
        if self.is_prepared {
            return Ok(());
        }
        let (Some(engine), Request::Acquire(acquire)) = (self.engine, &mut self.request) else {
            return Err(no_lease_id());
        };
        if let Some(holder) = engine.default_holder()
            && acquire.options().holder.is_none()
        {
            acquire.options_mut().holder = Some(holder.into());
        }
        if !self.has_id {
            acquire.lease_id = engine.draw_lease_id()?;
            self.has_id = true;
        }
        self.is_prepared = true;
        Ok(())
    }

    /// Returns whether [`answer`](Self::answer) can return an answer for this operation.
    #[inline]
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.requested().is_some()
    }

    /// Answers the operation if no write is necessary. Otherwise returns `None` without any effect.
    ///
    /// `now` is a reading of the store's clock from a time when `current` cannot change. A shared
    /// lock is enough.
    #[inline]
    #[must_use]
    pub fn answer(&mut self, current: &Record, now: Timestamp) -> Option<Applied> {
        match answer_to_acquire(current, self.requested()?, now)? {
            Ok((standing, now)) => (self.sink)(Report::Stands(standing, current, now)),
            Err(error) => (self.sink)(Report::Refused(&error)),
        }
        Some(Applied::NOTHING)
    }

    /// Answers like [`answer`](Self::answer), with a reading of the store's clock that may be up to
    /// a second old. Returns `None` if the answer can change within that second.
    #[inline]
    #[must_use]
    pub fn answer_recent(&mut self, current: &Record, recent: Timestamp) -> Option<Applied> {
        const SLACK: Duration = Duration::from_secs(1);
        if current.stands_until(recent.saturating_add(SLACK)) { self.answer(current, recent) } else { None }
    }

    /// Decides the operation, and changes the record in `slot` accordingly.
    ///
    /// The store must hold its lock on the record from before it reads its clock, `now`, until
    /// after this call. `floor` is the highest token of any record that the store has dropped,
    /// under any key. Every grant gets a token above it.
    #[inline]
    pub fn apply(&mut self, slot: RecordSlot<'_>, floor: Option<Token>, now: Timestamp) -> Applied {
        if let Err(error) = self.draw() {
            (self.sink)(Report::Refused(&error));
            return Applied::NOTHING;
        }
        let mut is_end = false;
        match &self.request.evaluate(slot.record(), now, self.keep, floor) {
            Transition::Begin(grant) => {
                (self.sink)(Report::Granted(slot.put(Record::new(grant.begin()))));
            }
            Transition::Change(plan) => {
                let Slot::Occupied(record) = slot.0 else { return self.apply_rare(slot, floor, now) };
                let answer = plan.make(record.body_mut());
                is_end = matches!(answer, Answer::Forgotten(_));
                self.report(&answer, record);
                // Checked under the lock, so that a waiter which registers later reads the new
                // record.
                if self.is_watched() {
                    (self.sink)(Report::Written(record, now));
                }
            }
            Transition::Answer(_) | Transition::Refuse(_) | Transition::Put(_) => {
                return self.apply_rare(slot, floor, now);
            }
        }
        Applied { is_write: true, is_end }
    }

    /// Applies an operation that writes nothing, or is a plain write. A separate function, so that
    /// the common case stays small.
    #[inline(never)]
    fn apply_rare(&mut self, slot: RecordSlot<'_>, floor: Option<Token>, now: Timestamp) -> Applied {
        if let Request::Swap(change) = self.request {
            let swap = swap(change, slot, floor, now);
            (self.sink)(Report::Swapped(&swap));
            return Applied::of(is_write(&swap));
        }
        match self.request.evaluate(slot.record(), now, self.keep, floor) {
            Transition::Answer(answer) => (self.sink)(Report::Answer(&answer)),
            Transition::Refuse(error) => (self.sink)(Report::Refused(&error)),
            Transition::Put(put) => {
                let record = slot.put(Record::new(put.body));
                return self.stored(&put.answer, record, now);
            }
            Transition::Begin(_) | Transition::Change(_) => {
                (self.sink)(Report::Refused(&Error::unexpected()));
            }
        }
        Applied::NOTHING
    }

    /// Decides on a copy of the record, for a store that compares and swaps.
    #[inline]
    pub(crate) fn decide(&mut self, current: Option<&Record>, now: Timestamp) -> Decision {
        match (self.draw(), &self.request) {
            (Err(error), _) => Decision::Refuse(error),
            (Ok(()), Request::Rules(rules)) => rules(current, now),
            (Ok(()), _) => self.request.evaluate(current, now, self.keep, None).on_a_copy(current),
        }
    }

    /// Reports an answer whose record was written at `now`.
    #[inline]
    pub(crate) fn stored(&mut self, answer: &Answer, next: &Record, now: Timestamp) -> Applied {
        self.report(answer, next);
        (self.sink)(Report::Written(next, now));
        Applied::WRITE
    }

    /// Reports an answer without a write.
    pub(crate) fn answered(&mut self, answer: &Result<Answer, Error>) -> Applied {
        (self.sink)(match answer {
            Ok(answer) => Report::Answer(answer),
            Err(error) => Report::Refused(error),
        });
        Applied::NOTHING
    }

    #[inline]
    fn report(&mut self, answer: &Answer, record: &Record) {
        (self.sink)(match answer {
            Answer::Granted => Report::Granted(record),
            answer => Report::Answer(answer),
        });
    }

    #[inline]
    fn is_watched(&self) -> bool {
        match (self.engine, self.known.or(self.made.as_ref())) {
            (Some(engine), Some(key)) => engine.is_watched(key),
            _ => true,
        }
    }

    /// Returns the write, if the operation is a plain one.
    pub(crate) fn as_swap(&self) -> Option<&OwnedConditionalWrite> {
        match self.request {
            Request::Swap(change) => Some(change),
            _ => None,
        }
    }
}

impl Request<'_> {
    #[inline]
    fn evaluate<'c>(
        &'c self,
        current: Option<&Record>,
        now: Timestamp,
        keep: Keep,
        floor: Option<Token>,
    ) -> Transition<'c> {
        match self {
            Self::Acquire(acquire) => evaluate_acquire(current, acquire, now, keep, floor),
            Self::HolderCommand(lease_id, act) => evaluate_holder(current, lease_id, act, now, keep),
            Self::Command(command) => evaluate(current, command, now, keep, floor),
            Self::Rules(_) | Self::Swap(_) => Transition::Refuse(Error::unexpected()),
        }
    }
}

/// Executes a plain conditional write.
fn swap(
    change: &OwnedConditionalWrite,
    slot: RecordSlot<'_>,
    floor: Option<Token>,
    now: Timestamp,
) -> CasResult {
    let change = change.borrow();
    let current = slot.record();
    let seen = || Snapshot { record: current.cloned(), now };
    if !change.matches(current) {
        return CasResult::Conflict(seen());
    }
    if !change.is_above_floor(floor) || !change.in_window(now) {
        return CasResult::Rejected(seen());
    }
    match change.stamped(now) {
        Some(stamped) => {
            slot.put(stamped.clone());
            CasResult::WrittenAs(stamped)
        }
        None => {
            slot.put(change.next.clone());
            CasResult::Written
        }
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Operation");
        shown.field("key", &self.key());
        match &self.request {
            Request::Acquire(acquire) => shown.field("acquire", acquire),
            Request::HolderCommand(_, act) => shown.field("act", act),
            Request::Command(command) => shown.field("command", command),
            Request::Rules(_) => shown.field("command", &"by custom rules"),
            Request::Swap(change) => shown.field("swap", change),
        };
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
