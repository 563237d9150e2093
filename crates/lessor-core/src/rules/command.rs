//! The words in which the machine is asked and answers. There is no rule here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::error::Error;
use crate::data::fingerprint::Fingerprint;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::record::{Attributes, Failure, Record, Version};
use crate::data::time::Timestamp;
use crate::data::view::View;
use crate::data::write::{ConditionalWrite, Window};
use crate::rules::settings::{OnFailed, OnLapsed};

/// What somebody asks of a key. Its parts are checked before it is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Become the holder, or learn how the work stands.
    Acquire(Acquire),
    /// What a holder does under its lease id.
    Holder(LeaseId, HolderCommand),
    /// An operator removes the record; a live one only with `force`.
    Forget {
        /// Also while somebody holds it.
        force: bool,
    },
    /// An operator decides how a lapsed grant ended.
    Resolve(Resolution),
}

/// A request for a lease.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Acquire {
    /// The id of the grant, if there will be one. Never that of an earlier grant.
    pub lease_id: LeaseId,
    /// The length of the lease.
    pub ttl: Duration,
    /// The parts that most requests do not have.
    options: Option<Arc<AcquireOptions>>,
}

/// The optional parts of an [`Acquire`]. `Debug` leaves the metadata out.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AcquireOptions {
    /// The holder's label.
    pub holder: Option<Box<str>>,
    /// A JSON object.
    pub metadata: Option<Box<str>>,
    /// The fingerprint of the work's request.
    pub fingerprint: Option<Fingerprint>,
    /// The policy for work that has failed.
    pub on_failed: OnFailed,
    /// The policy for a lease that has lapsed.
    pub on_lapsed: OnLapsed,
}

impl Acquire {
    /// Returns a request without options.
    #[inline]
    #[must_use]
    pub fn new(lease_id: LeaseId, ttl: Duration) -> Self {
        Self { lease_id, ttl, options: None }
    }

    #[inline]
    pub(crate) fn with_options(
        lease_id: LeaseId,
        ttl: Duration,
        options: Option<Arc<AcquireOptions>>,
    ) -> Self {
        Self { lease_id, ttl, options }
    }

    /// Changes the options.
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut AcquireOptions)) -> Self {
        set(self.options_mut());
        self
    }

    pub(crate) fn options_mut(&mut self) -> &mut AcquireOptions {
        Arc::make_mut(self.options.get_or_insert_default())
    }

    #[inline]
    pub(super) fn has_options(&self) -> bool {
        self.options.is_some()
    }

    /// Returns the options.
    #[inline]
    #[must_use]
    pub fn options(&self) -> &AcquireOptions {
        const NONE: &AcquireOptions = &AcquireOptions {
            holder: None,
            metadata: None,
            fingerprint: None,
            on_failed: OnFailed::Replay,
            on_lapsed: OnLapsed::TakeOver,
        };
        self.options.as_deref().unwrap_or(NONE)
    }

    /// Returns the attributes of a first grant.
    #[inline]
    pub(super) fn attributes(&self) -> Option<Arc<Attributes>> {
        let AcquireOptions { holder, metadata, fingerprint, .. } = self.options.as_deref()?;
        let (holder, metadata, fingerprint) = (holder.clone(), metadata.clone(), *fingerprint);
        Attributes { holder, metadata, fingerprint, ..Attributes::default() }.into_shared()
    }
}

/// What a holder may do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HolderCommand {
    /// Hold it at least this long from now.
    Extend {
        /// From now.
        ttl: Duration,
    },
    /// Leave something for a successor.
    Checkpoint(Payload),
    /// Deliver the result, with the holder's own word for it if it has one.
    Complete(Payload, Option<Box<str>>),
    /// Deliver the failure.
    Fail(Failure),
    /// Hand the lease back with nothing done.
    Release,
    /// The holder is gone: the lease lapses now.
    Abandon,
}

/// How an operator says a lapsed grant ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Resolution {
    /// The work was done, with this result.
    Completed(Payload, Option<Box<str>>),
    /// The work failed.
    Failed(Failure),
    /// Nothing was done; the key may be acquired again.
    Released,
}

/// The machine's verdict.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// An answer that changes nothing.
    Answer(Answer),
    /// An answer that holds once the write is stored in place of the record that was decided upon.
    Write(Write, Answer),
    /// The operation is refused; nothing changes.
    Refuse(Error),
}

/// A record to be stored, and when.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Write {
    /// The record.
    pub next: Record,
    /// The clock must have reached this.
    pub not_before: Option<Timestamp>,
    /// The clock must not have reached this.
    pub not_after: Option<Timestamp>,
    /// The record carries an outcome, whose time is that of the write.
    pub is_outcome: bool,
}

/// What the caller is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The caller holds the lease, by the record that is written with this answer.
    Granted,
    /// The caller holds the lease already, by this record: an earlier reply was lost.
    Resent(Box<Record>),
    /// Somebody else holds it.
    InProgress(Box<View>),
    /// The work is done.
    Completed(Box<View>),
    /// The work failed, and the policy does not allow another try, or not yet.
    Failed(Box<View>),
    /// A holder vanished, and the policy leaves it to an operator what that means.
    InDoubt(Box<View>),
    /// The holder's or operator's act took effect.
    Done(Ack),
    /// Whether there was anything to forget.
    Forgotten(bool),
}

/// A holder's act took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub(crate) version: Version,
    pub(crate) expires_at: Timestamp,
    pub(crate) late: bool,
    pub(crate) repeated: bool,
}

impl Ack {
    /// The record's version after it.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// When the lease runs out, or would have if it had not been finished before, in the store's time.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The outcome came after the lease had lapsed, but before anybody else acquired the key: it counts.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// The act had taken effect already, so this answer does not stand for a write of its own: `version` may be that of
    /// another answer as well.
    ///
    /// The act was sent before and its reply was lost; or a reply was lost now, and the engine read the record and found the
    /// act's effect there. In the latter case another handle with the same lease id may have written it. Two answers that are not
    /// repeated never have the same version.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.repeated
    }
}

impl Write {
    /// The change that puts it in place of the record that was decided upon.
    #[must_use]
    pub fn change<'a>(&'a self, expected: Option<&'a Record>) -> ConditionalWrite<'a> {
        let Self { next, not_before, not_after, is_outcome } = self;
        ConditionalWrite {
            expected,
            next,
            not_before: *not_before,
            not_after: *not_after,
            is_outcome: *is_outcome,
        }
    }

    pub(super) fn new(next: Record, window: Window, is_outcome: bool) -> Self {
        let Window { not_before, not_after } = window;
        Self { next, not_before, not_after, is_outcome }
    }
}

impl fmt::Debug for AcquireOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOptions")
            .field("holder", &self.holder)
            .field("fingerprint", &self.fingerprint)
            .field("on_failed", &self.on_failed)
            .field("on_lapsed", &self.on_lapsed)
            .finish_non_exhaustive()
    }
}
