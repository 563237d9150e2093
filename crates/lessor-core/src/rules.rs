//! The rules of leases, as one pure function without I/O, clock or randomness.
//!
//! [`decide`] takes a record, a [`Command`] and the time, and returns a [`Decision`].
//!
//! ```text
//!                          acquire
//!   absent ───────────────────────────────► in progress ──── complete ──► completed
//!      ▲                                    │  ▲  │  ▲  └──── fail ──────► failed
//!      │ forget, end of retention   release │  │  │  └── acquire (retry) ────┘
//!      └──── released ◄─────────────────────┘  │  │ time runs out, abandon
//!               └──────────── acquire ─────────┤  ▼
//!                                              └─ lapsed ── complete, fail, release: late
//! ```

mod command;
mod history;
pub(crate) mod keep;
pub(crate) mod policies;
pub(crate) mod quota;
pub(crate) mod settings;
mod transition;

use std::time::Duration;

use crate::data::error::Error;
use crate::data::lease_id::LeaseId;
use crate::data::payload::result_hash;
use crate::data::record::{Body, GrantEnd, Record, Stage};
use crate::data::state::State;
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::view::View;
use crate::data::write::Window;
use crate::rules::policies::OnLapsed;

pub use command::{
    Ack, Acquire, AcquireOptions, Answer, Charge, Command, Decision, HolderCommand, Resolution, Write,
};
pub use keep::Keep;
pub(crate) use transition::Transition;
use transition::{Change, Grant, Mutation, ack};

/// Decides `command` on `record` at `now`. `keep` is the retention, or a [`Keep`].
#[must_use]
pub fn decide(record: Option<&Record>, command: &Command, now: Timestamp, keep: impl Into<Keep>) -> Decision {
    evaluate(record, command, now, keep.into(), None).on_a_copy(record)
}

/// Decides `command` on `record` at `now`, without applying the change yet. A grant without an
/// earlier record gets a token above `floor`.
pub(crate) fn evaluate<'a>(
    record: Option<&Record>,
    command: &'a Command,
    now: Timestamp,
    keep: Keep,
    floor: Option<Token>,
) -> Transition<'a> {
    let evaluation = Evaluation { floor, ..Evaluation::new(record, now, keep) };
    match (command, evaluation.kept()) {
        (Command::Acquire(request), _) => evaluation.acquire(request),
        (Command::Holder(lease_id, act), _) => evaluation.act(lease_id, act),
        (Command::Charge(charge), _) => quota::charge(record, charge, evaluation.now, floor),
        (Command::Resolve { .. }, None) => Transition::Refuse(Error::NotFound),
        (Command::Forget { .. }, None) => Transition::Answer(Answer::Forgotten(false)),
        (Command::Forget { force }, Some(kept)) => evaluation.forget(kept, *force),
        (Command::Resolve { resolution, force }, Some(kept)) => evaluation.resolve(kept, resolution, *force),
    }
}

/// Decides an acquire. See [`evaluate`].
#[inline]
pub(crate) fn evaluate_acquire<'a>(
    record: Option<&Record>,
    request: &'a Acquire,
    now: Timestamp,
    keep: Keep,
    floor: Option<Token>,
) -> Transition<'a> {
    Evaluation { floor, ..Evaluation::new(record, now, keep) }.acquire(request)
}

/// Decides a holder's command. See [`evaluate`].
#[inline]
pub(crate) fn evaluate_holder<'a>(
    record: Option<&Record>,
    lease_id: &LeaseId,
    act: &'a HolderCommand,
    now: Timestamp,
    keep: Keep,
) -> Transition<'a> {
    Evaluation::new(record, now, keep).act(lease_id, act)
}

/// Returns the answer to an acquire if it needs no write and returns no lease, and the time that
/// the answer refers to.
#[inline]
pub(crate) fn answer_to_acquire(
    record: &Record,
    request: &Acquire,
    now: Timestamp,
) -> Option<Result<(KeyStatus, Timestamp), Error>> {
    // What records keep matters only for writes.
    let evaluation = Evaluation::new(Some(record), now, Keep::new(Duration::ZERO, 0));
    match evaluation.admission(request) {
        Admission::Stands(standing, _) => Some(Ok((standing, evaluation.now))),
        Admission::Mismatch => Some(Err(Error::FingerprintMismatch)),
        Admission::Anew | Admission::Again { .. } | Admission::Resent(_) => None,
    }
}

/// The status of a key whose lease was not granted.
#[derive(Clone, Copy)]
pub(crate) enum KeyStatus {
    InProgress,
    Completed,
    Failed { retry_at: Option<Timestamp> },
    InDoubt,
}

impl KeyStatus {
    #[inline]
    pub(crate) fn view(self, kept: &Record, now: Timestamp) -> View {
        let view = View::of_kept(kept.body(), now);
        match self {
            Self::Failed { retry_at } => view.with_retry_after(retry_at.map(|at| at.saturating_since(now))),
            _ => view,
        }
    }

    /// Returns the answer with a view of the record.
    pub(crate) fn answer(self, kept: &Record, now: Timestamp) -> Answer {
        // Boxed to keep the other answers small.
        let view = Box::new(self.view(kept, now));
        match self {
            Self::InProgress => Answer::InProgress(view),
            Self::Completed => Answer::Completed(view),
            Self::Failed { .. } => Answer::Failed(view),
            Self::InDoubt => Answer::InDoubt(view),
        }
    }
}

/// The decision on an acquire, before a record is built.
enum Admission<'a> {
    /// The first grant of a new record.
    Anew,
    /// Another grant of the record, not before `from`.
    Again { kept: &'a Record, ended: GrantEnd, from: Timestamp },
    /// The caller holds the lease already.
    Resent(&'a Record),
    /// No grant.
    Stands(KeyStatus, &'a Record),
    /// The fingerprint differs from that of the record.
    Mismatch,
}

/// The inputs of one decision.
struct Evaluation<'a> {
    record: Option<&'a Record>,
    now: Timestamp,
    keep: Keep,
    /// The highest purged token.
    floor: Option<Token>,
}

impl<'a> Evaluation<'a> {
    #[inline]
    fn new(record: Option<&'a Record>, now: Timestamp, keep: Keep) -> Self {
        // The clock may have been read before the record was written. Time within a record never
        // runs backwards.
        let now = record.map_or(now, |record| record.body().not_before(now));
        Self { record, now, keep, floor: None }
    }

    /// Returns the record, unless its retention has ended.
    fn kept(&self) -> Option<&'a Record> {
        self.record.filter(|record| record.body().is_kept(self.now))
    }

    #[inline]
    fn acquire<'c>(&self, request: &'c Acquire) -> Transition<'c> {
        match self.admission(request) {
            Admission::Anew => {
                let not_before = self.record.map_or(Timestamp::EPOCH, |past| past.body().absent_from());
                self.grant(request, None, not_before, None)
            }
            Admission::Again { kept, .. } if kept.is_held_by(&request.lease_id) => {
                Transition::Refuse(Error::LeaseIdReused)
            }
            Admission::Again { kept, ended, from } => {
                self.grant(request, Some(ended), from, Some(kept.body().absent_from()))
            }
            Admission::Resent(kept) => Transition::Answer(Answer::Resent(Box::new(kept.clone()))),
            Admission::Stands(standing, kept) => Transition::Answer(standing.answer(kept, self.now)),
            Admission::Mismatch => Transition::Refuse(Error::FingerprintMismatch),
        }
    }

    #[inline]
    fn admission(&self, request: &Acquire) -> Admission<'a> {
        let Some(kept) = self.kept() else { return Admission::Anew };
        let body = kept.body();
        if let (Some(known), Some(asked)) = (body.attributes().fingerprint, request.options().fingerprint)
            && known != asked
        {
            return Admission::Mismatch;
        }
        match body.stage {
            Stage::InProgress if body.is_live(self.now) => match kept.is_held_by(&request.lease_id) {
                true => Admission::Resent(kept),
                false => Admission::Stands(KeyStatus::InProgress, kept),
            },
            Stage::InProgress => match request.options().on_lapsed {
                OnLapsed::TakeOver if body.is_in_doubt() => Admission::Stands(KeyStatus::InDoubt, kept),
                OnLapsed::TakeOver | OnLapsed::Reconcile => {
                    Admission::Again { kept, ended: GrantEnd::Lapsed, from: body.expires_at }
                }
                OnLapsed::InDoubt => Admission::Stands(KeyStatus::InDoubt, kept),
            },
            Stage::Completed => Admission::Stands(KeyStatus::Completed, kept),
            Stage::Failed => match retry_at(body, request) {
                Some(from) if self.now >= from => Admission::Again { kept, ended: GrantEnd::Failed, from },
                retry_at => Admission::Stands(KeyStatus::Failed { retry_at }, kept),
            },
            Stage::Released | Stage::Forgotten => {
                Admission::Again { kept, ended: GrantEnd::Released, from: Timestamp::EPOCH }
            }
        }
    }

    /// Returns a grant with a new token, to be written when the clock is between `not_before` and
    /// `not_after`.
    #[inline]
    fn grant<'c>(
        &self,
        request: &'c Acquire,
        after: Option<GrantEnd>,
        not_before: Timestamp,
        not_after: Option<Timestamp>,
    ) -> Transition<'c> {
        if self.now >= request.charged_until {
            return Transition::Answer(Answer::Uncharged);
        }
        let token = Token::after(self.record.map(Record::token).or(self.floor), self.now);
        let (Some(token), Some(expires_at)) = (token, self.now.checked_add(request.ttl)) else {
            return Transition::Refuse(Error::ClockOutOfRange);
        };
        let not_before = (not_before > Timestamp::EPOCH).then_some(not_before);
        let window = Window { not_before, not_after };
        let keep_until = self.keep.until(expires_at);
        let grant = Grant { request, token, expires_at, keep_until, now: self.now, window };
        match after {
            None => Transition::Begin(grant),
            Some(ended) => self.change(Mutation::Again(grant, ended), window),
        }
    }

    #[inline]
    fn act<'c>(&self, lease_id: &LeaseId, act: &'c HolderCommand) -> Transition<'c> {
        let Some(kept) = self.kept() else { return Transition::Refuse(Error::NotFound) };
        let body = kept.body();
        if !kept.is_held_by(lease_id) {
            return Transition::Refuse(Error::NotHolder { token: body.token() });
        }
        match body.stage {
            Stage::InProgress => self.act_in_progress(kept, act),
            Stage::Completed | Stage::Failed if is_duplicate(body, act) => self.unchanged(body),
            Stage::Completed => Transition::Refuse(Error::Finished { state: State::Completed }),
            Stage::Failed => Transition::Refuse(Error::Finished { state: State::Failed }),
            Stage::Released if matches!(act, HolderCommand::Release | HolderCommand::Unused) => {
                self.unchanged(body)
            }
            Stage::Released | Stage::Forgotten => Transition::Refuse(Error::Released),
        }
    }

    #[inline]
    fn act_in_progress<'c>(&self, kept: &Record, act: &'c HolderCommand) -> Transition<'c> {
        let live = kept.body().is_live(self.now);
        match act {
            HolderCommand::Extend { .. } | HolderCommand::Checkpoint(_) if !live => {
                Transition::Refuse(Error::Lapsed)
            }
            HolderCommand::Abandon if !live => self.unchanged(kept.body()),
            HolderCommand::Extend { ttl } => match self.now.checked_add(*ttl) {
                None => Transition::Refuse(Error::ClockOutOfRange),
                Some(until) => self.write_while_live(kept, Mutation::Extend { until }),
            },
            HolderCommand::Checkpoint(payload) => self.write_while_live(kept, Mutation::Checkpoint(payload)),
            HolderCommand::Complete(result, hash) => {
                self.write_outcome(kept, Mutation::Complete(result, hash.as_deref()))
            }
            HolderCommand::Fail(failure) => self.write_outcome(kept, Mutation::Fail(failure)),
            HolderCommand::Release => self.write_outcome(kept, Mutation::Release),
            HolderCommand::Abandon => self.write_while_live(kept, Mutation::Abandon),
            HolderCommand::Unused => self.unused(kept),
            HolderCommand::Doubt => self.doubt(kept),
        }
    }

    #[cold]
    fn unused<'c>(&self, kept: &Record) -> Transition<'c> {
        match kept.body() {
            body if body.is_in_doubt() => self.unchanged(body),
            // A release would let a caller run the work whose policy forbids it after a lapse.
            body if body.previous_end == Some(GrantEnd::Lapsed) => {
                self.act_in_progress(kept, &HolderCommand::Abandon)
            }
            _ => self.write_outcome(kept, Mutation::Release),
        }
    }

    #[cold]
    fn doubt<'c>(&self, kept: &Record) -> Transition<'c> {
        match kept.body() {
            body if body.is_in_doubt() => self.unchanged(body),
            body if body.is_live(self.now) => self.write_while_live(kept, Mutation::Doubt),
            _ => self.write(kept, Mutation::Doubt),
        }
    }

    fn forget<'c>(&self, kept: &Record, force: bool) -> Transition<'c> {
        if kept.body().is_live(self.now) && !force {
            self.busy(kept)
        } else {
            self.write(kept, Mutation::Forget)
        }
    }

    fn resolve<'c>(&self, kept: &Record, resolution: &'c Resolution, force: bool) -> Transition<'c> {
        match kept.body().stage {
            Stage::InProgress if !kept.body().is_live(self.now) => {
                self.write(kept, Mutation::Resolve(resolution))
            }
            // If the lease lapses before the write, nobody has to be superseded.
            Stage::InProgress if force => self.write_while_live(kept, Mutation::Overrule(resolution)),
            Stage::InProgress => self.busy(kept),
            Stage::Completed => Transition::Refuse(Error::Finished { state: State::Completed }),
            Stage::Failed => Transition::Refuse(Error::Finished { state: State::Failed }),
            Stage::Released | Stage::Forgotten => Transition::Refuse(Error::Released),
        }
    }

    fn busy<'c>(&self, kept: &Record) -> Transition<'c> {
        Transition::Refuse(Error::Busy { ttl_left: kept.body().expires_at.saturating_since(self.now) })
    }

    /// Returns a write that is valid while the record is kept, even after the lease has lapsed.
    /// After a takeover the swap conflicts.
    #[inline]
    fn write<'c>(&self, kept: &Record, edit: Mutation<'c>) -> Transition<'c> {
        self.change(edit, Window { not_before: None, not_after: Some(kept.body().absent_from()) })
    }

    /// Returns the write of an outcome, which records whether it is late. An outcome that is not
    /// late must be written while the lease is live, and is otherwise decided again.
    #[inline]
    fn write_outcome<'c>(&self, kept: &Record, edit: Mutation<'c>) -> Transition<'c> {
        if kept.body().is_live(self.now) { self.write_while_live(kept, edit) } else { self.write(kept, edit) }
    }

    /// Returns a write that must reach the store while the lease is live. A lease that observers
    /// have seen lapse is not revived.
    #[inline]
    fn write_while_live<'c>(&self, kept: &Record, edit: Mutation<'c>) -> Transition<'c> {
        self.change(edit, Window { not_before: None, not_after: Some(kept.body().expires_at) })
    }

    #[inline]
    fn change<'c>(&self, edit: Mutation<'c>, window: Window) -> Transition<'c> {
        Transition::Change(Change { edit, now: self.now, keep: self.keep, window })
    }

    fn unchanged<'c>(&self, body: &Body) -> Transition<'c> {
        Transition::Answer(ack(body, true))
    }
}

/// Returns the answer to a write that was found in `record`. This caller made the write, or another
/// with the same lease id.
#[doc(hidden)]
#[must_use]
pub fn found(record: &Record, answer: Answer) -> Answer {
    match answer {
        Answer::Granted => Answer::Resent(Box::new(record.clone())),
        Answer::Done(_) => ack(record.body(), true),
        answer => answer,
    }
}

/// Returns the time from which failed work may be tried again: the earlier of the times that the
/// failure and the policy of the request allow.
fn retry_at(body: &Body, request: &Acquire) -> Option<Timestamp> {
    let policy = request.options().on_failed.retry_at(body.attempt, body.done_at);
    [policy, body.retry_at()].into_iter().flatten().min()
}

/// Returns whether the command delivers the outcome that the record has already, because an earlier
/// reply was lost.
fn is_duplicate(body: &Body, act: &HolderCommand) -> bool {
    match act {
        HolderCommand::Complete(result, hash) if body.stage == Stage::Completed => {
            // Results are compared by the holder's hash if there is one, and else by their SHA-256.
            let known = body.attributes().result_hash.as_deref();
            match (known, hash.as_deref()) {
                (None, None) => body.result() == Some(result.bytes()),
                (_, Some(asked)) => body.result_hash().is_some_and(|known| known == asked),
                (Some(known), None) => known == result_hash(result.bytes(), None),
            }
        }
        HolderCommand::Fail(failure) if body.stage == Stage::Failed => {
            body.attributes().failure.as_ref().is_some_and(|known| known.code == failure.code)
        }
        _ => false,
    }
}

impl Body {
    /// Returns whether the lease is in force. At `expires_at` it has lapsed.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.stage == Stage::InProgress && now < self.expires_at
    }

    /// Returns the latest of `now` and the times of the record's last grant and outcome.
    pub(crate) fn not_before(&self, now: Timestamp) -> Timestamp {
        now.max(self.acquired_at).max(self.done_at)
    }

    /// Returns whether the record still counts. A live one always does.
    pub(crate) fn is_kept(&self, now: Timestamp) -> bool {
        now < self.absent_from()
    }

    /// Returns the time from which the record counts as absent.
    fn absent_from(&self) -> Timestamp {
        match self.stage {
            Stage::Forgotten => Timestamp::EPOCH,
            _ => self.keep_until,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
