//! Conditional writes of records.

use super::record::Record;
use super::time::Timestamp;
use super::token::Token;

/// A write, and the conditions under which a store performs it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConditionalWrite<'a> {
    /// The record that must be stored under the key, or `None` if there must be none.
    pub expected: Option<&'a Record>,
    /// The record to store.
    pub next: &'a Record,
    /// The earliest time of the store's clock at which the write is allowed.
    pub not_before: Option<Timestamp>,
    /// The time of the store's clock from which the write is not allowed any more.
    pub not_after: Option<Timestamp>,
    /// True if the write delivers an outcome, which carries the time of the write. See
    /// [`ConditionalWrite::stamped`].
    pub is_outcome: bool,
}

/// A [`ConditionalWrite`] that borrows nothing.
#[derive(Clone, Debug)]
pub struct OwnedConditionalWrite {
    expected: Option<Record>,
    next: Record,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    is_outcome: bool,
}

impl OwnedConditionalWrite {
    /// Returns the write in its borrowed form.
    #[must_use]
    pub fn borrow(&self) -> ConditionalWrite<'_> {
        let Self { expected, next, not_before, not_after, is_outcome } = self;
        ConditionalWrite {
            expected: expected.as_ref(),
            next,
            not_before: *not_before,
            not_after: *not_after,
            is_outcome: *is_outcome,
        }
    }
}

impl<'a> ConditionalWrite<'a> {
    /// Returns a write of `next` that is allowed at any time, if the stored record is `expected`.
    #[must_use]
    pub const fn new(expected: Option<&'a Record>, next: &'a Record) -> Self {
        Self { expected, next, not_before: None, not_after: None, is_outcome: false }
    }

    /// Sets the time window of the write.
    #[must_use]
    pub const fn with_window(self, not_before: Option<Timestamp>, not_after: Option<Timestamp>) -> Self {
        Self { not_before, not_after, ..self }
    }

    /// Makes the write deliver an outcome.
    #[must_use]
    pub const fn as_outcome(self) -> Self {
        Self { is_outcome: true, ..self }
    }
}

impl ConditionalWrite<'_> {
    /// Returns the write in its owned form. Increments the reference counts of both records.
    #[must_use]
    pub fn to_owned(&self) -> OwnedConditionalWrite {
        let Self { expected, next, not_before, not_after, is_outcome } = *self;
        OwnedConditionalWrite {
            expected: expected.cloned(),
            next: next.clone(),
            not_before,
            not_after,
            is_outcome,
        }
    }

    /// Returns whether `current` is the expected record. A store of encoded records may compare the
    /// bytes instead.
    #[must_use]
    pub fn matches(&self, current: Option<&Record>) -> bool {
        match (self.expected, current) {
            (None, None) => true,
            (Some(expected), Some(current)) => expected.same_write(current),
            _ => false,
        }
    }

    /// Returns whether the token of the new record is higher than `purged`, the highest token that
    /// the store has purged. Always true if a record is replaced, because the new token is not
    /// lower than that record's.
    #[must_use]
    pub fn is_above_floor(&self, purged: Option<Token>) -> bool {
        self.expected.is_some() || purged.is_none_or(|purged| self.next.token() > purged)
    }

    /// Returns whether the write depends on the clock. If not, the store need not read its clock.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.is_outcome || self.window().is_timed()
    }

    /// Returns the record to store instead of `next`, with the time of the outcome set to `now`,
    /// the clock in the atomic step of the write. Returns `None` if `next` can be stored unchanged:
    /// it carries no outcome, or the outcome was decided within a millisecond of `now`.
    ///
    /// A store that cannot replace the record in its atomic step stores `next`. The time window of
    /// the write limits the difference between the times of the decision and the write.
    #[must_use]
    pub fn stamped(&self, now: Timestamp) -> Option<Record> {
        if self.is_outcome { self.next.stamped(now) } else { None }
    }

    /// Returns whether the write is allowed at `now`.
    #[must_use]
    pub fn in_window(&self, now: Timestamp) -> bool {
        self.window().is_open(now)
    }

    fn window(&self) -> Window {
        Window { not_before: self.not_before, not_after: self.not_after }
    }
}

/// The time window in which a write is allowed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

impl Window {
    /// Returns whether the window has a limit.
    pub(crate) fn is_timed(self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
    }

    pub(crate) fn is_open(self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|at| now >= at) && self.not_after.is_none_or(|at| now < at)
    }
}
