//! The record that is stored under a key, and its parts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::failure::Failure;
use crate::data::fingerprint::Fingerprint;
use crate::data::inline::Inline;
use crate::data::lease_id::LeaseId;
use crate::data::past::StoredHistory;
use crate::data::payload::{Payload, result_hash};
use crate::data::time::Timestamp;
use crate::data::token::{Token, Version};
use crate::data::trace::Trace;

/// The stored stage of a record. An in-progress record is live or lapsed, depending on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Granted to a holder.
    InProgress,
    /// Completed with a result.
    Completed,
    /// Failed with an error code.
    Failed,
    /// Released without an outcome.
    Released,
    /// Forgotten by an operator. Counts as absent, and keeps the token so that the next one is
    /// larger.
    Forgotten,
}

impl Stage {
    /// Returns the name of the stage in lower case, with underscores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Forgotten => "forgotten",
        }
    }
}

/// The record of one key.
///
/// Stores treat records as opaque and implement no rule. A store that keeps bytes uses
/// [`encode`](Self::encode) and [`decode`](Self::decode). Stores compare records with
/// [`same_write`](Self::same_write), and may drop one from [`purge_at`](Self::purge_at) on.
#[derive(Clone, PartialEq)]
pub struct Record(Body);

/// In memory, the fields that most operations read are adjacent, and the result follows.
#[derive(Clone, PartialEq)]
#[repr(C)]
pub(crate) struct Body {
    pub(crate) lease_id: LeaseId,
    pub(crate) version: Version,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) acquired_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The time at which the work was completed or failed, or the lease released. Otherwise the
    /// epoch.
    pub(crate) done_at: Timestamp,
    /// The time from which the record counts as absent.
    pub(crate) keep_until: Timestamp,
    /// The parts that most records do not have. `None` if all are absent.
    pub(crate) attributes: Option<Arc<Attributes>>,
    pub(crate) attempt: u32,
    pub(crate) stage: Stage,
    /// The end of the previous grant, if there was one.
    pub(crate) previous_end: Option<GrantEnd>,
    /// The token minus the time of the grant in µs, which is usually 0. [`APART`] if the token is
    /// an attribute.
    pub(crate) token_lead: u8,
    /// The result, if it is short, or else the trace, if there is one.
    pub(crate) inline: Inline,
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) holder: Option<Box<str>>,
    pub(crate) metadata: Option<Box<str>>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) checkpoint: Option<Box<Payload>>,
    /// The result, if it is long.
    pub(crate) long_result: Option<Box<Payload>>,
    /// The token, if it is far from the time of the grant.
    pub(crate) token: Option<Token>,
    /// The caller's own hash of the result.
    pub(crate) result_hash: Option<Box<str>>,
    pub(crate) failure: Option<Failure>,
    /// The label of the previous grant's holder.
    pub(crate) previous_holder: Option<Box<str>>,
    /// True if the holder of a lapsed lease could not know whether the work was done.
    pub(crate) in_doubt: bool,
    /// The events before the last grant and during it.
    pub(crate) history: Option<Box<StoredHistory>>,
    /// Encoded fields that only a newer library knows. Kept until the record ends.
    pub(crate) of_record: Option<Box<[u8]>>,
    /// Encoded fields that only a newer library knows. Kept until the next grant.
    pub(crate) of_grant: Option<Box<[u8]>>,
}

const APART: u8 = u8::MAX;

/// Returns the token of a grant at `acquired_at`, from its lead or from the attributes.
#[inline]
pub(crate) fn token(acquired_at: Timestamp, lead: u8, attributes: Option<&Attributes>) -> Token {
    match lead {
        APART => attributes.and_then(|attributes| attributes.token).unwrap_or(Token::MAX),
        lead => Token(acquired_at.as_micros() + u64::from(lead)),
    }
}

/// The previous grant of a key, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousGrant<'a> {
    pub(crate) ended: GrantEnd,
    pub(crate) holder: Option<&'a str>,
}

/// The end of a grant that was followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrantEnd {
    /// The lease lapsed or was abandoned. The work may be half done.
    Lapsed,
    /// The holder released the lease.
    Released,
    /// The work failed, and the policy allows another attempt.
    Failed,
}

impl<'a> PreviousGrant<'a> {
    /// Returns how the grant ended.
    #[must_use]
    pub fn ended(self) -> GrantEnd {
        self.ended
    }

    /// Returns the label of its holder, if it had one.
    #[must_use]
    pub fn holder(self) -> Option<&'a str> {
        self.holder
    }
}

impl Record {
    pub(crate) fn new(body: Body) -> Self {
        Self(body)
    }

    pub(crate) fn body(&self) -> &Body {
        &self.0
    }

    #[inline]
    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.0
    }

    /// Returns whether the two records are the same write of the same key. A write is identified by
    /// token and version: a key's token rises with every grant, and its version with every change.
    #[must_use]
    pub fn same_write(&self, other: &Self) -> bool {
        self.token() == other.token()
            && self.0.version == other.0.version
            && self.0.stage == other.0.stage
            && self.0.lease_id.to_bytes() == other.0.lease_id.to_bytes()
    }

    /// Returns whether this is the same write as `other`, except perhaps for the time of an
    /// outcome.
    #[doc(hidden)]
    #[must_use]
    pub fn is_write(&self, other: &Self) -> bool {
        let (this, other) = (&self.0, &other.0);
        this.lease_id == other.lease_id
            && (this.token(), this.version, this.attempt, this.stage)
                == (other.token(), other.version, other.attempt, other.stage)
            && (this.first_seen_at, this.acquired_at, this.expires_at)
                == (other.first_seen_at, other.acquired_at, other.expires_at)
            && this.previous_end == other.previous_end
            && this.inline == other.inline
            && this.attributes == other.attributes
    }

    /// Returns the record with `now` as the time of its outcome. `None` if it has about that time
    /// already.
    pub(crate) fn stamped(&self, now: Timestamp) -> Option<Self> {
        /// The tolerance, which saves a copy of the record.
        const CLOSE: Duration = Duration::from_millis(1);
        let body = &self.0;
        // A late outcome stays late, and no outcome is earlier than its grant.
        let at = now.max(if body.is_late() { body.expires_at } else { body.acquired_at });
        let off = at.saturating_since(body.done_at).max(body.done_at.saturating_since(at));
        if !body.is_done() || off < CLOSE {
            return None;
        }
        let retention = body.keep_until.saturating_since(body.done_at);
        Some(Self::new(Body { done_at: at, keep_until: at.saturating_add(retention), ..body.clone() }))
    }

    /// Returns whether the last grants of the two have the same lease id. Takes constant time.
    #[must_use]
    pub fn same_holder(&self, other: &Self) -> bool {
        self.0.lease_id == other.0.lease_id
    }

    /// Returns the time from which a store may drop the record. Not before the clock has passed the
    /// token, so that a grant after the purge has a larger one.
    #[must_use]
    pub fn purge_at(&self) -> Timestamp {
        purge_at(self.0.keep_until, self.token())
    }

    /// Returns whether the answer to an acquire stays the same until `then` without a write.
    #[inline]
    pub(crate) fn stands_until(&self, then: Timestamp) -> bool {
        match self.0.stage {
            Stage::InProgress => self.0.expires_at > then,
            Stage::Completed => self.0.keep_until > then,
            _ => false,
        }
    }

    /// Returns the stored stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Returns the token of the last grant.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.token()
    }

    /// Returns the version, which rises by one with every write.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// Returns the number of grants.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Returns the end of the last lease. It is not changed by an outcome.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// Returns the time of the first grant.
    #[must_use]
    pub fn first_seen_at(&self) -> Timestamp {
        self.0.first_seen_at
    }

    /// Returns the time of the last grant.
    #[must_use]
    pub fn acquired_at(&self) -> Timestamp {
        self.0.acquired_at
    }

    /// Returns the time at which the last grant was completed, failed or released, or `None`.
    #[must_use]
    pub fn done_at(&self) -> Option<Timestamp> {
        self.0.is_done().then_some(self.0.done_at)
    }

    /// Returns whether the last grant was completed, failed or released after it had lapsed.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.is_late()
    }

    /// Returns the time from which the record counts as absent.
    #[must_use]
    pub fn keep_until(&self) -> Timestamp {
        self.0.keep_until
    }

    /// Returns the number of bytes of the result. `None` unless completed.
    #[must_use]
    pub fn result_len(&self) -> Option<usize> {
        self.0.result().map(<[u8]>::len)
    }

    /// Returns the number of bytes of the checkpoint. `None` if there is none.
    #[must_use]
    pub fn checkpoint_len(&self) -> Option<usize> {
        self.0.attributes().checkpoint.as_ref().map(|checkpoint| checkpoint.bytes().len())
    }

    /// Returns whether the last grant has this lease id. Takes constant time.
    #[must_use]
    pub fn is_held_by(&self, lease_id: &LeaseId) -> bool {
        self.0.lease_id == *lease_id
    }
}

/// The part of a record that every library of its format version can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordHeader {
    /// See [`Record::stage`].
    pub stage: Stage,
    /// See [`Record::token`].
    pub token: Token,
    /// See [`Record::version`].
    pub version: Version,
    /// See [`Record::attempt`].
    pub attempt: u32,
    /// See [`Record::first_seen_at`].
    pub first_seen_at: Timestamp,
    /// See [`Record::acquired_at`].
    pub acquired_at: Timestamp,
    /// See [`Record::expires_at`].
    pub expires_at: Timestamp,
    /// See [`Record::keep_until`].
    pub keep_until: Timestamp,
    /// The lowest number of a field that this library does not know. [`Record::decode`] refuses
    /// such a record.
    pub unknown_field: Option<u32>,
}

impl RecordHeader {
    /// Returns the time from which a store may drop the record. See [`Record::purge_at`]. A record
    /// with an unknown field is never dropped.
    #[must_use]
    pub fn purge_at(&self) -> Timestamp {
        match self.unknown_field {
            None => purge_at(self.keep_until, self.token),
            Some(_) => Timestamp::MAX,
        }
    }

    /// Returns the end of the lease. `None` unless the record is in progress.
    #[must_use]
    pub fn lease_until(&self) -> Option<Timestamp> {
        (self.stage == Stage::InProgress).then_some(self.expires_at)
    }
}

fn purge_at(keep_until: Timestamp, token: Token) -> Timestamp {
    let past_token = Timestamp::from_micros(token.0 + 1).unwrap_or(Timestamp::MAX);
    keep_until.max(past_token)
}

impl Body {
    /// Returns whether the last grant was completed, failed or released.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Completed | Stage::Failed | Stage::Released)
    }

    /// Returns whether that happened after the lease had lapsed.
    pub(crate) fn is_late(&self) -> bool {
        self.is_done() && self.done_at >= self.expires_at
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        const NONE: &Attributes = &Attributes {
            holder: None,
            metadata: None,
            fingerprint: None,
            checkpoint: None,
            long_result: None,
            token: None,
            result_hash: None,
            failure: None,
            previous_holder: None,
            in_doubt: false,
            history: None,
            of_record: None,
            of_grant: None,
        };
        self.attributes.as_deref().unwrap_or(NONE)
    }

    /// Changes the attributes. They are copied only if a view shares them.
    pub(crate) fn edit_attributes(&mut self, edit: impl FnOnce(&mut Attributes)) {
        let mut attributes = self.attributes.take().unwrap_or_default();
        edit(Arc::make_mut(&mut attributes));
        self.attributes = (*attributes != Attributes::default()).then_some(attributes);
    }

    /// Returns a record in progress, whose token and attributes must be set by the caller.
    #[inline]
    pub(crate) fn in_progress(lease_id: LeaseId, first_seen_at: Timestamp, attempt: u32) -> Self {
        Self {
            lease_id,
            version: Version::FIRST,
            first_seen_at,
            acquired_at: first_seen_at,
            expires_at: Timestamp::EPOCH,
            done_at: Timestamp::EPOCH,
            keep_until: Timestamp::EPOCH,
            attempt,
            stage: Stage::InProgress,
            previous_end: None,
            token_lead: 0,
            inline: Inline::none(),
            attributes: None,
        }
    }

    #[inline]
    pub(crate) fn token(&self) -> Token {
        token(self.acquired_at, self.token_lead, self.attributes.as_deref())
    }

    /// Returns the token minus the time of the grant in µs, if it is small.
    #[inline]
    pub(crate) fn near_token_lead(&self) -> Option<u8> {
        (self.token_lead != APART).then_some(self.token_lead)
    }

    /// Sets the time of the grant and its token, which is not below that time. The attributes must
    /// be set before.
    #[inline]
    pub(crate) fn set_grant(&mut self, acquired_at: Timestamp, token: Token) {
        self.acquired_at = acquired_at;
        let lead = u8::try_from(token.0.saturating_sub(acquired_at.as_micros())).unwrap_or(APART);
        if lead == APART || self.token_lead == APART {
            self.edit_attributes(|attributes| attributes.token = (lead == APART).then_some(token));
        }
        self.token_lead = lead;
    }

    /// Returns whether the holder of the lapsed lease could not know whether the work was done.
    #[inline]
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.attributes().in_doubt
    }

    /// Returns the time from which every caller may try failed work again, if the failure has one.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        self.attributes().failure.as_ref().and_then(|failure| failure.retry_at(self.done_at))
    }

    /// Returns the trace, if there is one.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        match self.stage {
            Stage::Completed => {
                self.attributes().history.as_deref().and_then(|history| history.trace.as_ref())
            }
            _ => self.inline.trace(),
        }
    }

    /// Returns the encoded history of the grants before the former one.
    pub(crate) fn past(&self) -> &[u8] {
        self.attributes().history.as_deref().map(|history| &*history.past).unwrap_or_default()
    }

    /// Sets what [`trace`](Self::trace) and [`past`](Self::past) return. The stage must be set
    /// before.
    pub(crate) fn set_history(&mut self, trace: Option<Trace>, past: Box<[u8]>) {
        let beside_a_result = trace.filter(|_| self.stage == Stage::Completed);
        if let (Some(trace), None) = (trace, beside_a_result) {
            self.inline = Inline::trace_of(trace);
        }
        let stored = StoredHistory { trace: beside_a_result, past };
        let history = (stored != StoredHistory::default()).then(|| Box::new(stored));
        if history.is_some() || self.attributes().history.is_some() {
            self.edit_attributes(|attributes| attributes.history = history);
        }
    }

    /// Removes all attributes except the token.
    pub(crate) fn clear_attributes(&mut self) {
        let token = self.attributes().token;
        self.attributes = Attributes { token, ..Attributes::default() }.into_shared();
    }

    /// Returns the result's bytes. `None` unless completed.
    #[inline]
    pub(crate) fn result(&self) -> Option<&[u8]> {
        self.inline.result().or_else(|| self.attributes().long_result.as_deref().map(Payload::bytes))
    }

    #[inline]
    pub(crate) fn set_result(&mut self, result: &Payload) {
        match Inline::result_of(result.bytes()) {
            Some(short) => self.inline = short,
            None => {
                self.inline = Inline::none();
                self.edit_attributes(|attributes| attributes.long_result = Some(Box::new(result.clone())));
            }
        }
    }

    /// Returns the caller's own hash of the result, or else its SHA-256 in hex.
    pub(crate) fn result_hash(&self) -> Option<String> {
        self.result().map(|result| result_hash(result, self.attributes().result_hash.as_deref()))
    }
}

impl Attributes {
    /// Returns `None` if all attributes are absent.
    pub(crate) fn into_shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.0;
        f.debug_struct("Record")
            .field("stage", &body.stage)
            .field("token", &body.token().0)
            .field("version", &body.version.0)
            .field("attempt", &body.attempt)
            .field("first_seen_at", &body.first_seen_at)
            .field("acquired_at", &body.acquired_at)
            .field("expires_at", &body.expires_at)
            .field("done_at", &body.done_at)
            .field("keep_until", &body.keep_until)
            .finish_non_exhaustive()
    }
}
