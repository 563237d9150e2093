//! The changes of a record after a decision, on a copy of the record or in place.

use super::command::{Ack, Acquire, Answer, Decision, Resolution, Write};
use super::history;
use super::keep::Keep;
use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::inline::Inline;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::record::{Body, GrantEnd, Record, Stage};
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::trace::Ending;
use crate::data::write::Window;

/// A decision whose change has not been applied yet.
pub(crate) enum Transition<'a> {
    Answer(Answer),
    Refuse(Error),
    /// A new record, where there is none or its retention has ended.
    Begin(Grant<'a>),
    /// A change of the record.
    Change(Change<'a>),
    /// A record in place of the current one.
    Put(Box<Put>),
}

pub(crate) struct Put {
    pub(crate) body: Body,
    pub(crate) answer: Answer,
}

pub(crate) struct Grant<'a> {
    pub(super) request: &'a Acquire,
    pub(super) token: Token,
    pub(super) expires_at: Timestamp,
    pub(super) keep_until: Timestamp,
    pub(super) now: Timestamp,
    pub(crate) window: Window,
}

pub(crate) struct Change<'a> {
    pub(super) edit: Mutation<'a>,
    pub(super) now: Timestamp,
    pub(super) keep: Keep,
    pub(crate) window: Window,
}

pub(super) enum Mutation<'a> {
    Again(Grant<'a>, GrantEnd),
    Extend {
        until: Timestamp,
    },
    Checkpoint(&'a Payload),
    Complete(&'a Payload, Option<&'a str>),
    Fail(&'a Failure),
    Release,
    Abandon,
    Doubt,
    /// An operator's outcome of a lapsed grant.
    Resolve(&'a Resolution),
    /// An operator's outcome of a live grant, whose holder is superseded.
    Overrule(&'a Resolution),
    Forget,
}

impl Transition<'_> {
    /// Applies the change to a copy of `record`, the record that the decision was made on.
    #[inline]
    pub(crate) fn on_a_copy(self, record: Option<&Record>) -> Decision {
        match (self, record) {
            (Self::Answer(answer), _) => Decision::Answer(answer),
            (Self::Refuse(error), _) => Decision::Refuse(error),
            (Self::Begin(grant), _) => {
                Decision::Write(Write::new(Record::new(grant.begin()), grant.window, false), Answer::Granted)
            }
            (Self::Change(plan), Some(record)) => {
                let mut next = record.body().clone();
                let answer = plan.make(&mut next);
                Decision::Write(Write::new(Record::new(next), plan.window, plan.is_outcome()), answer)
            }
            (Self::Change(_), None) => Decision::Refuse(Error::NotFound),
            (Self::Put(put), _) => {
                let Put { body, answer } = *put;
                let window = Window { not_before: None, not_after: None };
                Decision::Write(Write::new(Record::new(body), window, false), answer)
            }
        }
    }
}

impl Grant<'_> {
    /// Returns a record with its first grant. Only the token depends on an earlier record.
    #[inline]
    pub(crate) fn begin(&self) -> Body {
        let mut body = Body {
            expires_at: self.expires_at,
            keep_until: self.keep_until,
            attributes: self.request.attributes(),
            ..Body::in_progress(self.request.lease_id, self.now, 1)
        };
        body.set_grant(self.now, self.token);
        body
    }

    fn again(&self, next: &mut Body, ended: GrantEnd, keep: Keep) {
        history::on_grant(next, ended, keep.history());
        let (request, options) = (self.request, self.request.options());
        next.lease_id = request.lease_id;
        next.expires_at = self.expires_at;
        next.done_at = Timestamp::EPOCH;
        next.keep_until = self.keep_until;
        next.attempt = next.attempt.saturating_add(1);
        next.stage = Stage::InProgress;
        next.previous_end = Some(ended);
        if next.attributes.is_some() || request.has_options() {
            next.edit_attributes(|attributes| {
                attributes.previous_holder =
                    std::mem::replace(&mut attributes.holder, options.holder.clone());
                attributes.metadata = options.metadata.clone();
                attributes.fingerprint = options.fingerprint.or(attributes.fingerprint);
                attributes.failure = None;
                attributes.in_doubt = false;
                attributes.of_grant = None;
            });
        }
        next.set_grant(self.now, self.token);
    }
}

impl Change<'_> {
    fn is_outcome(&self) -> bool {
        matches!(
            self.edit,
            Mutation::Complete(..)
                | Mutation::Fail(_)
                | Mutation::Release
                | Mutation::Resolve(_)
                | Mutation::Overrule(_)
        )
    }

    /// Applies the change to `next`.
    #[inline]
    pub(crate) fn make(&self, next: &mut Body) -> Answer {
        next.version = next.version.next();
        match &self.edit {
            Mutation::Again(grant, ended) => {
                grant.again(next, *ended, self.keep);
                return Answer::Granted;
            }
            Mutation::Extend { until } => {
                if self.keep.history() > 0 {
                    let left = next.expires_at.as_micros().saturating_sub(self.now.as_micros());
                    next.inline.trace_mut().renew(next.attempt, left, self.now);
                }
                next.expires_at = next.expires_at.max(*until);
                next.keep_until = self.keep.until(next.expires_at);
            }
            Mutation::Checkpoint(payload) => {
                if self.keep.history() > 0 {
                    next.inline.trace_mut().checkpoint(next.attempt, self.now);
                }
                next.edit_attributes(|attributes| attributes.checkpoint = Some(Box::new((*payload).clone())));
            }
            Mutation::Complete(result, hash) => self.complete(next, result, *hash),
            Mutation::Fail(failure) => self.fail(next, failure),
            Mutation::Release => self.finish(next, Stage::Released),
            Mutation::Abandon => {
                self.end(next, Ending::ABANDONED);
                next.expires_at = self.now;
                next.keep_until = self.keep.until(self.now);
            }
            Mutation::Doubt => self.doubt(next),
            Mutation::Resolve(resolution) => self.resolve(next, resolution, Ending::OPERATOR),
            Mutation::Overrule(resolution) => {
                next.lease_id = NOBODY;
                self.resolve(next, resolution, Ending::FORCED);
            }
            Mutation::Forget => {
                forget(next);
                return Answer::Forgotten(true);
            }
        }
        ack(next, false)
    }

    /// Adds to the history what the stage does not say about the end of the grant.
    fn end(&self, next: &mut Body, ending: Ending) {
        if self.keep.history() > 0 {
            next.inline.trace_mut().end(next.attempt, ending);
        }
    }

    fn complete(&self, next: &mut Body, result: &Payload, hash: Option<&str>) {
        self.finish(next, Stage::Completed);
        let trace = next.inline.trace().copied();
        next.set_result(result);
        if let Some(trace) = trace {
            history::keep_beside_a_result(next, trace);
        }
        // The attributes may be shared with the holder, so they are left alone if nothing in them changes.
        let known = next.attributes();
        if hash.is_some() || known.checkpoint.is_some() || known.result_hash.is_some() {
            next.edit_attributes(|attributes| {
                attributes.checkpoint = None;
                attributes.result_hash = hash.map(Into::into);
            });
        }
    }

    fn fail(&self, next: &mut Body, failure: &Failure) {
        self.finish(next, Stage::Failed);
        next.edit_attributes(|attributes| attributes.failure = Some(failure.clone()));
    }

    #[cold]
    fn doubt(&self, next: &mut Body) {
        // A lapsed lease keeps its end: the time of the decision may be ahead of the store's clock.
        next.expires_at = next.expires_at.min(self.now);
        next.keep_until = self.keep.until(self.now);
        next.edit_attributes(|attributes| attributes.in_doubt = true);
    }

    #[cold]
    fn resolve(&self, next: &mut Body, resolution: &Resolution, by: Ending) {
        self.end(next, by);
        match resolution {
            Resolution::Completed(result, hash) => self.complete(next, result, hash.as_deref()),
            Resolution::Failed(failure) => self.fail(next, failure),
            Resolution::Released => self.finish(next, Stage::Released),
        }
    }

    fn finish(&self, next: &mut Body, stage: Stage) {
        next.stage = stage;
        next.done_at = self.now;
        next.keep_until = self.keep.until(self.now);
        if next.is_in_doubt() {
            resolve_doubt(next);
        }
    }
}

#[cold]
fn resolve_doubt(next: &mut Body) {
    next.edit_attributes(|attributes| attributes.in_doubt = false);
}

/// The lease id of a record whose holder an operator has superseded. No holder ever has it.
const NOBODY: LeaseId = LeaseId::from_bytes([0; 16]);

fn forget(next: &mut Body) {
    next.stage = Stage::Forgotten;
    next.lease_id = NOBODY;
    next.done_at = Timestamp::EPOCH;
    next.expires_at = next.acquired_at;
    next.keep_until = next.acquired_at;
    next.inline = Inline::none();
    next.previous_end = None;
    next.clear_attributes();
}

/// Returns the acknowledgement of a command whose effect the record has.
pub(super) fn ack(body: &Body, repeated: bool) -> Answer {
    let (version, expires_at) = (body.version, body.expires_at);
    Answer::Done(Ack { version, expires_at, late: body.is_late(), repeated })
}
