//! Every lease rule, as one pure function: no I/O, no clock, no randomness.
//!
//! ```text
//!                          acquire
//!   absent ───────────────────────────────► in progress ──── complete ──► completed
//!      ▲                                    │  ▲  │  ▲  └──── fail ──────► failed
//!      │ forget, end of retention   release │  │  │  └── acquire (retry) ────┘
//!      └──── released ◄─────────────────────┘  │  │ time runs out, abandon
//!               └──────────── acquire ─────────┤  ▼
//!                                              └─ lapsed ── complete, fail, release: still, while nobody took over
//! ```

mod words;

use std::time::Duration;

use crate::error::Error;
use crate::lease_id::LeaseId;
use crate::record::{Body, Ended, Failure, Former, Payload, Record, Stage, Token, Version};
use crate::settings::OnLapsed;
use crate::time::Timestamp;
use crate::view::{State, View};

pub use words::{Ack, Acquire, Act, Answer, Command, Decision, Resolution, Write};

/// Decides what becomes of `record` when `command` arrives at `now`. Finished, released and abandoned records stay
/// readable for `retention`.
#[must_use]
pub fn decide(record: Option<&Record>, command: &Command, now: Timestamp, retention: Duration) -> Decision {
    let case = Case::new(record, now, retention);
    match (command, case.kept()) {
        (Command::Acquire(request), _) => case.acquire(request),
        (Command::Act(..) | Command::Resolve(_), None) => Decision::Refuse(Error::NotFound),
        (Command::Act(lease_id, act), Some(kept)) => case.act(kept, lease_id, act),
        (Command::Forget { .. }, None) => Decision::Answer(Answer::Forgotten(false)),
        (Command::Forget { force }, Some(kept)) => case.forget(kept, *force),
        (Command::Resolve(resolution), Some(kept)) => case.resolve(kept, resolution),
    }
}

/// What an acquire is told of `record` where nothing has to be written for it, nor a lease handed out.
#[inline]
pub(crate) fn tell(
    record: &Record,
    request: &Acquire,
    now: Timestamp,
) -> Option<Result<(Standing, View), Error>> {
    // Nothing is written, so the retention that writes are stamped with does not matter.
    let case = Case::new(Some(record), now, Duration::ZERO);
    match case.verdict(request) {
        Verdict::Stands(standing, kept) => Some(Ok((standing, standing.view(kept, case.now)))),
        Verdict::Mismatch => Some(Err(Error::FingerprintMismatch)),
        Verdict::Anew | Verdict::Again { .. } | Verdict::Resent(_) => None,
    }
}

/// How a key stands for one who asks for its lease in vain.
#[derive(Clone, Copy)]
pub(crate) enum Standing {
    InProgress,
    Completed,
    Failed { retry_at: Option<Timestamp> },
    InDoubt,
}

impl Standing {
    #[inline]
    fn view(self, kept: &Record, now: Timestamp) -> View {
        let view = View::of_kept(kept.body(), now);
        match self {
            Self::Failed { retry_at } => view.with_retry_after(retry_at.map(|at| at.saturating_since(now))),
            _ => view,
        }
    }
}

/// What becomes of an acquire, before anything is made of it.
enum Verdict<'a> {
    Anew,
    Again { kept: &'a Record, ended: Ended, from: Timestamp },
    Resent(&'a Record),
    Stands(Standing, &'a Record),
    Mismatch,
}

/// One question to the machine.
struct Case<'a> {
    record: Option<&'a Record>,
    now: Timestamp,
    retention: Duration,
}

impl<'a> Case<'a> {
    #[inline]
    fn new(record: Option<&'a Record>, now: Timestamp, retention: Duration) -> Self {
        // A reading of the clock may be older than the record; time within a record never runs backwards.
        let now = record.map_or(now, |record| record.body().not_before(now));
        Self { record, now, retention }
    }

    /// The record, if it still counts.
    fn kept(&self) -> Option<&'a Record> {
        self.record.filter(|record| record.body().is_kept(self.now))
    }

    fn acquire(&self, request: &Acquire) -> Decision {
        match self.verdict(request) {
            Verdict::Anew => self.grant_anew(request),
            Verdict::Again { kept, ended, from } => self.grant_again(kept, request, ended, from),
            Verdict::Resent(kept) => Decision::Answer(Answer::Resent(kept.clone())),
            Verdict::Stands(standing, kept) => {
                // Boxed, so that the common answers are small to hand around.
                let view = Box::new(standing.view(kept, self.now));
                Decision::Answer(match standing {
                    Standing::InProgress => Answer::InProgress(view),
                    Standing::Completed => Answer::Completed(view),
                    Standing::Failed { .. } => Answer::Failed(view),
                    Standing::InDoubt => Answer::InDoubt(view),
                })
            }
            Verdict::Mismatch => Decision::Refuse(Error::FingerprintMismatch),
        }
    }

    #[inline]
    fn verdict(&self, request: &Acquire) -> Verdict<'a> {
        let Some(kept) = self.kept() else { return Verdict::Anew };
        let body = kept.body();
        if let (Some(known), Some(asked)) = (body.extras().fingerprint, request.fingerprint)
            && known != asked
        {
            return Verdict::Mismatch;
        }
        match body.stage {
            Stage::InProgress if body.is_live(self.now) => match kept.is_held_by(&request.lease_id) {
                true => Verdict::Resent(kept),
                false => Verdict::Stands(Standing::InProgress, kept),
            },
            Stage::InProgress => match request.on_lapsed {
                OnLapsed::TakeOver => Verdict::Again { kept, ended: Ended::Lapsed, from: body.expires_at },
                OnLapsed::InDoubt => Verdict::Stands(Standing::InDoubt, kept),
            },
            Stage::Completed => Verdict::Stands(Standing::Completed, kept),
            Stage::Failed => match request.on_failed.retry_at(body.attempt, body.done_at) {
                Some(from) if self.now >= from => Verdict::Again { kept, ended: Ended::Failed, from },
                retry_at => Verdict::Stands(Standing::Failed { retry_at }, kept),
            },
            Stage::Released | Stage::Forgotten => {
                Verdict::Again { kept, ended: Ended::Released, from: Timestamp::EPOCH }
            }
        }
    }

    /// The first grant of a record; a former record whose time has passed leaves only its token behind.
    fn grant_anew(&self, request: &Acquire) -> Decision {
        let not_before = self.record.map_or(Timestamp::EPOCH, |past| past.body().absent_from());
        self.grant(request, not_before, |token, expires_at| Body {
            lease_id: request.lease_id,
            token,
            version: Version::FIRST,
            first_seen_at: self.now,
            acquired_at: self.now,
            expires_at,
            done_at: Timestamp::EPOCH,
            keep_until: expires_at.saturating_add(self.retention),
            attempt: 1,
            stage: Stage::InProgress,
            result: None,
            extras: request.extras(),
        })
    }

    /// A further grant of a record whose last grant `ended`.
    fn grant_again(&self, kept: &Record, request: &Acquire, ended: Ended, not_before: Timestamp) -> Decision {
        if kept.is_held_by(&request.lease_id) {
            return Decision::Refuse(Error::LeaseIdReused);
        }
        let body = kept.body();
        self.grant(request, not_before, |token, expires_at| {
            let mut next = Body {
                lease_id: request.lease_id,
                token,
                version: body.version.next(),
                acquired_at: self.now,
                expires_at,
                done_at: Timestamp::EPOCH,
                keep_until: expires_at.saturating_add(self.retention),
                attempt: body.attempt.saturating_add(1),
                stage: Stage::InProgress,
                ..body.clone()
            };
            next.edit_extras(|extras| {
                let holder = std::mem::replace(&mut extras.holder, request.holder.clone());
                extras.former = Some(Former { ended, holder });
                extras.metadata = request.metadata.clone();
                extras.fingerprint = request.fingerprint.or(extras.fingerprint);
                extras.failure = None;
            });
            next
        })
    }

    /// What all grants share: the token, the end, and that the clock must have come to `not_before`.
    fn grant(
        &self,
        request: &Acquire,
        not_before: Timestamp,
        make: impl FnOnce(Token, Timestamp) -> Body,
    ) -> Decision {
        let token = Token::after(self.record.map(Record::token), self.now);
        let (Some(token), Some(expires_at)) = (token, self.now.checked_add(request.ttl)) else {
            return Decision::Refuse(Error::ClockOutOfRange);
        };
        let write = Write {
            next: Record::new(make(token, expires_at)),
            not_before: (not_before > Timestamp::EPOCH).then_some(not_before),
            not_after: None,
        };
        Decision::Write(write, Answer::Granted)
    }

    fn act(&self, kept: &Record, lease_id: &LeaseId, act: &Act) -> Decision {
        let body = kept.body();
        if !kept.is_held_by(lease_id) {
            return Decision::Refuse(Error::NotHolder { token: body.token });
        }
        match body.stage {
            Stage::InProgress => self.act_in_progress(kept, act),
            Stage::Completed | Stage::Failed if repeats(body, act) => self.unchanged(body),
            Stage::Completed => Decision::Refuse(Error::Finished { state: State::Completed }),
            Stage::Failed => Decision::Refuse(Error::Finished { state: State::Failed }),
            Stage::Released if matches!(act, Act::Release) => self.unchanged(body),
            Stage::Released | Stage::Forgotten => Decision::Refuse(Error::Released),
        }
    }

    fn act_in_progress(&self, kept: &Record, act: &Act) -> Decision {
        let live = kept.body().is_live(self.now);
        match act {
            Act::Extend { .. } | Act::Checkpoint(_) if !live => Decision::Refuse(Error::Lapsed),
            Act::Abandon if !live => self.unchanged(kept.body()),
            Act::Extend { ttl } => match self.now.checked_add(*ttl) {
                None => Decision::Refuse(Error::ClockOutOfRange),
                Some(until) => self.write_while_live(kept, |next| {
                    next.expires_at = next.expires_at.max(until);
                    next.keep_until = next.expires_at.saturating_add(self.retention);
                }),
            },
            Act::Checkpoint(payload) => self.write_while_live(kept, |next| {
                next.edit_extras(|extras| extras.checkpoint = Some(payload.clone()));
            }),
            Act::Complete(result, hash) => {
                self.write(kept, |next| self.complete(next, result, hash.as_deref()))
            }
            Act::Fail(failure) => self.write(kept, |next| self.fail(next, failure)),
            Act::Release => self.write(kept, |next| self.finish(next, Stage::Released)),
            Act::Abandon => self.write(kept, |next| {
                next.expires_at = self.now;
                next.keep_until = self.now.saturating_add(self.retention);
            }),
        }
    }

    fn forget(&self, kept: &Record, force: bool) -> Decision {
        if kept.body().is_live(self.now) && !force {
            return self.busy(kept);
        }
        let next = kept.next(|next| {
            next.stage = Stage::Forgotten;
            // The tombstone names no holder that ever was.
            next.lease_id = LeaseId::from_bytes([0; 16]);
            next.done_at = Timestamp::EPOCH;
            next.expires_at = next.acquired_at;
            next.keep_until = next.acquired_at;
            next.result = None;
            next.extras = None;
        });
        Decision::Write(Write::at_any_time(next), Answer::Forgotten(true))
    }

    fn resolve(&self, kept: &Record, resolution: &Resolution) -> Decision {
        match kept.body().stage {
            Stage::InProgress if kept.body().is_live(self.now) => self.busy(kept),
            Stage::InProgress => self.write(kept, |next| match resolution {
                Resolution::Completed(result, hash) => self.complete(next, result, hash.as_deref()),
                Resolution::Failed(failure) => self.fail(next, failure),
                Resolution::Released => self.finish(next, Stage::Released),
            }),
            Stage::Completed => Decision::Refuse(Error::Finished { state: State::Completed }),
            Stage::Failed => Decision::Refuse(Error::Finished { state: State::Failed }),
            Stage::Released | Stage::Forgotten => Decision::Refuse(Error::Released),
        }
    }

    fn busy(&self, kept: &Record) -> Decision {
        Decision::Refuse(Error::Busy { ttl_left: kept.body().expires_at.saturating_since(self.now) })
    }

    fn complete(&self, next: &mut Body, result: &Payload, hash: Option<&str>) {
        self.finish(next, Stage::Completed);
        next.result = Some(result.clone());
        if hash.is_some() || next.extras.is_some() {
            next.edit_extras(|extras| {
                extras.checkpoint = None;
                extras.result_hash = hash.map(Into::into);
            });
        }
    }

    fn fail(&self, next: &mut Body, failure: &Failure) {
        self.finish(next, Stage::Failed);
        next.edit_extras(|extras| extras.failure = Some(failure.clone()));
    }

    fn finish(&self, next: &mut Body, stage: Stage) {
        next.stage = stage;
        next.done_at = self.now;
        next.keep_until = self.now.saturating_add(self.retention);
    }

    /// A write that stands whether or not the lease has lapsed, as long as nobody took over.
    fn write(&self, kept: &Record, edit: impl FnOnce(&mut Body)) -> Decision {
        let next = kept.next(edit);
        let answer = self.ack(next.body(), false);
        Decision::Write(Write::at_any_time(next), answer)
    }

    /// A write that must reach the store while the lease lives: what observers saw end does not come back.
    fn write_while_live(&self, kept: &Record, edit: impl FnOnce(&mut Body)) -> Decision {
        let next = kept.next(edit);
        let answer = self.ack(next.body(), false);
        let write = Write { not_after: Some(kept.body().expires_at), ..Write::at_any_time(next) };
        Decision::Write(write, answer)
    }

    fn unchanged(&self, body: &Body) -> Decision {
        Decision::Answer(self.ack(body, true))
    }

    fn ack(&self, body: &Body, repeated: bool) -> Answer {
        let (version, expires_at) = (body.version, body.expires_at);
        Answer::Done(Ack { version, expires_at, late: body.done_at >= expires_at, repeated })
    }
}

/// Whether the act delivers the outcome that the record has already: its reply was lost.
fn repeats(body: &Body, act: &Act) -> bool {
    match act {
        Act::Complete(result, hash) if body.stage == Stage::Completed => {
            // The bytes stand for their SHA-256, unless the holder has a word of its own on either side.
            let known = body.extras().result_hash.as_deref();
            match (known, hash.as_deref()) {
                (None, None) => body.result.as_ref() == Some(result),
                (_, Some(asked)) => body.result_hash().is_some_and(|known| known == asked),
                (Some(known), None) => known == result.hex(),
            }
        }
        Act::Fail(failure) if body.stage == Stage::Failed => {
            body.extras().failure.as_ref().is_some_and(|known| known.code == failure.code)
        }
        _ => false,
    }
}

impl Body {
    /// Whether the grant is in force: from `expires_at` on it has lapsed.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.stage == Stage::InProgress && now < self.expires_at
    }

    /// `now`, or the time of the record's last grant or outcome if that is later.
    pub(crate) fn not_before(&self, now: Timestamp) -> Timestamp {
        now.max(self.acquired_at).max(self.done_at)
    }

    /// Whether the record still counts. A live one always does.
    pub(crate) fn is_kept(&self, now: Timestamp) -> bool {
        now < self.absent_from()
    }

    fn absent_from(&self) -> Timestamp {
        match self.stage {
            Stage::Forgotten => Timestamp::EPOCH,
            _ => self.keep_until,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
