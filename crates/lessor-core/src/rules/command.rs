//! Commands and decisions: the arguments and the results of the rules. This file contains no rule.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::fingerprint::Fingerprint;
use crate::data::lease_id::LeaseId;
use crate::data::month::Month;
use crate::data::payload::Payload;
use crate::data::record::{Attributes, Record};
use crate::data::time::Timestamp;
use crate::data::token::Version;
use crate::data::view::View;
use crate::data::write::{ConditionalWrite, Window};
use crate::rules::policies::{OnFailed, OnLapsed};

/// A command on a key. Its parts have been checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Acquires the key, or returns the state of the work.
    Acquire(Acquire),
    /// A command of the holder with this lease id.
    Holder(LeaseId, HolderCommand),
    /// Removes the record. A live one is removed only with `force`.
    Forget {
        /// True to remove a live record as well.
        force: bool,
    },
    /// Decides, for an operator, how the last grant ended. A live one is ended only with `force`.
    Resolve {
        /// The outcome.
        resolution: Resolution,
        /// True to end a live grant as well, whose holder is superseded.
        force: bool,
    },
    /// Counts grants on the record of a namespace's quota.
    Charge(Charge),
}

/// A change of the count of a namespace's grants. Its `nonce` tells this write from others.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Charge {
    /// Charges units of the current month.
    Take {
        /// A random number.
        nonce: LeaseId,
        /// The maximum number of units.
        most: u32,
        /// The maximum count of a month.
        limit: Option<u64>,
    },
    /// Gives unused units back.
    Return {
        /// A random number.
        nonce: LeaseId,
        /// The month for which they were charged.
        month: Month,
        /// Their number.
        units: u64,
    },
}

impl Charge {
    pub(super) fn nonce(&self) -> LeaseId {
        match self {
            Self::Take { nonce, .. } | Self::Return { nonce, .. } => *nonce,
        }
    }
}

/// A request for a lease.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Acquire {
    /// The id of the lease, if it is granted. Must be new.
    pub lease_id: LeaseId,
    /// The duration of the lease.
    pub ttl: Duration,
    /// The time before which a grant has to be made, because it is charged until then. The epoch
    /// allows no grant.
    pub(crate) charged_until: Timestamp,
    /// The parts that most requests do not have.
    options: Option<Arc<AcquireOptions>>,
}

/// The optional parts of an [`Acquire`]. `Debug` omits the metadata.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AcquireOptions {
    /// The holder's label.
    pub holder: Option<Box<str>>,
    /// A JSON object.
    pub metadata: Option<Box<str>>,
    /// The fingerprint of the request that the key stands for.
    pub fingerprint: Option<Fingerprint>,
    /// The policy for work that failed.
    pub on_failed: OnFailed,
    /// The policy for a lease that lapsed.
    pub on_lapsed: OnLapsed,
}

impl Acquire {
    /// Returns a request without options.
    #[inline]
    #[must_use]
    pub fn new(lease_id: LeaseId, ttl: Duration) -> Self {
        Self { lease_id, ttl, charged_until: Timestamp::MAX, options: None }
    }

    #[inline]
    pub(crate) fn with_options(
        lease_id: LeaseId,
        ttl: Duration,
        options: Option<Arc<AcquireOptions>>,
    ) -> Self {
        Self { lease_id, ttl, charged_until: Timestamp::MAX, options }
    }

    /// Returns the request with changed options.
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

    /// Returns the attributes of a first grant, if there are any.
    #[inline]
    pub(super) fn attributes(&self) -> Option<Arc<Attributes>> {
        let AcquireOptions { holder, metadata, fingerprint, .. } = self.options.as_deref()?;
        let (holder, metadata, fingerprint) = (holder.clone(), metadata.clone(), *fingerprint);
        Attributes { holder, metadata, fingerprint, ..Attributes::default() }.into_shared()
    }
}

/// A command of a holder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HolderCommand {
    /// Extends the lease to at least this time.
    Extend {
        /// The duration from now.
        ttl: Duration,
    },
    /// Stores a checkpoint for the next holder.
    Checkpoint(Payload),
    /// Delivers the result, and the holder's own hash of it if there is one.
    Complete(Payload, Option<Box<str>>),
    /// Delivers a failure.
    Fail(Failure),
    /// Releases the lease without an outcome.
    Release,
    /// Lets the lease lapse now, because the holder is gone.
    Abandon,
    /// Releases the lease of a holder that is gone and has not begun the work. If the grant before
    /// it has lapsed, lets it lapse now instead, because that holder may have begun the work.
    Unused,
    /// Lets the lease lapse now if it has not, and marks the record as in doubt, because the holder
    /// cannot know whether the work was done.
    Doubt,
}

/// An operator's decision on how a grant ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Resolution {
    /// The work was done, with this result and the operator's own hash of it if there is one.
    Completed(Payload, Option<Box<str>>),
    /// The work failed.
    Failed(Failure),
    /// Nothing was done, and the key may be acquired again.
    Released,
}

/// The decision of the rules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// An answer without a change.
    Answer(Answer),
    /// An answer that is valid once the write is stored in place of the record that the decision
    /// was based on.
    Write(Write, Answer),
    /// The command is refused, without a change.
    Refuse(Error),
}

/// A record to store, with the conditions on the time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Write {
    /// The record to store.
    pub next: Record,
    /// The clock must have reached this time.
    pub not_before: Option<Timestamp>,
    /// The clock must not have reached this time.
    pub not_after: Option<Timestamp>,
    /// True if the record contains an outcome, whose time is that of the write.
    pub is_outcome: bool,
}

/// The answer to a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The caller holds the lease, with the record that is written.
    Granted,
    /// The caller holds the lease already, with this record. An earlier reply was lost.
    Resent(Box<Record>),
    /// Another caller holds the lease.
    InProgress(Box<View>),
    /// The work is completed.
    Completed(Box<View>),
    /// The work failed, and the policy does not allow another attempt, or not yet.
    Failed(Box<View>),
    /// The last lease lapsed, and the policy or the mark of its holder leaves the decision to an
    /// operator.
    InDoubt(Box<View>),
    /// The command of a holder or an operator took effect.
    Done(Ack),
    /// The record was removed, or there was none (`false`).
    Forgotten(bool),
    /// The key may be acquired, but the grant is not charged.
    Uncharged,
    /// The count was changed by `units`, and is now `total`.
    Charged {
        /// The number of units that were charged or given back.
        units: u64,
        /// The month for which they count.
        month: Month,
        /// The count of the month.
        total: u64,
    },
}

/// The acknowledgement of a holder's or an operator's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub(crate) version: Version,
    pub(crate) expires_at: Timestamp,
    pub(crate) late: bool,
    pub(crate) repeated: bool,
}

impl Ack {
    /// Returns the record's version after the command.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the end of the lease in the store's time. It is not changed by an outcome.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns whether the outcome was stored after the lease had lapsed. It counts, because no
    /// other caller had acquired the key.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Returns whether the command had taken effect before, so that this answer is not about a
    /// write of its own. Another answer may then have the same `version`.
    ///
    /// Either the command was sent before and its reply was lost, or its reply was lost now and the
    /// engine found its effect in the record. In the second case another handle with the same lease
    /// id may have made the write. Two answers that are not duplicates never have the same version.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.repeated
    }
}

impl Write {
    /// Returns the conditional write that replaces the record that the decision was based on.
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
