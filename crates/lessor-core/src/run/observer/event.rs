//! The events of an engine.

use std::fmt;
use std::time::Duration;

use tracing::Level;

use super::counters::Counter;
use crate::data::key::Key;
use crate::data::record::GrantEnd;
use crate::data::state::State;
use crate::data::token::Token;

/// An event, as the observer receives it.
pub(crate) enum Event<'a> {
    /// A lease was granted.
    Granted { key: EventKey<'a>, token: Token, attempt: u32, after: Option<GrantEnd> },
    /// An acquire got its own earlier grant again.
    GrantRepeated { key: EventKey<'a>, token: Token },
    /// An acquire got the state of the key instead of a lease.
    Answered { key: EventKey<'a>, answer: State, in_doubt: bool },
    /// An acquire was refused or failed.
    NotAcquired { key: EventKey<'a>, error: &'a dyn fmt::Display },
    /// A lease ended with an outcome.
    Ended { key: EventKey<'a>, outcome: Outcome, late: bool },
    /// A lease was renewed `margin` before its holder would have had to stop.
    Renewed { key: EventKey<'a>, margin: Duration, ttl: Duration },
    /// A renewal failed, and is repeated.
    NotRenewed { key: EventKey<'a>, error: &'a dyn fmt::Display },
    /// A lease is not renewed, because its work makes no progress.
    Stalled { key: EventKey<'a> },
    /// A lease was lost before it had an outcome.
    Lost { key: EventKey<'a>, token: Option<Token>, reason: &'static str },
    /// An operation of a superseded holder was refused.
    Stale { key: EventKey<'a>, current: Token },
    /// The record of a watched lease could not be read.
    NotChecked { key: EventKey<'a>, error: &'a dyn fmt::Display },
    /// A dropped lease could not be abandoned.
    NotAbandoned { key: EventKey<'a>, error: &'a dyn fmt::Display },
    /// An outcome of the engine's own could not be stored.
    NotStored { key: EventKey<'a>, what: &'static str, error: &'a dyn fmt::Display },
    /// A failure class has an invalid code.
    InvalidCode { key: EventKey<'a>, error: &'a dyn fmt::Display },
    /// An operator decided on a key.
    Operated { key: EventKey<'a>, action: Action, forced: bool },
    /// Records were removed after their retention.
    Purged { records: u64 },
    /// The store could not be purged.
    NotPurged { error: &'a dyn fmt::Display },
    /// The store could not be surveyed.
    NotSurveyed { error: &'a dyn fmt::Display },
}

/// The key of an event. The text of a [`Key`] takes time to make, so it is made only for a reader.
#[derive(Clone, Copy)]
pub(crate) enum EventKey<'a> {
    Text(&'a str),
    Key(&'a Key),
}

impl<'a> EventKey<'a> {
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Key(key) => key,
        }
    }
}

impl<'a> From<&'a str> for EventKey<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Key> for EventKey<'a> {
    fn from(key: &'a Key) -> Self {
        Self::Key(key)
    }
}

/// The outcome of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Released,
    Abandoned,
    /// Ended by the engine before its work began.
    Unused,
    InDoubt,
}

/// A decision of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The key has this outcome now.
    Resolved(State),
    /// The work is canceled.
    Canceled,
    /// The record is removed.
    Forgotten,
}

impl Action {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved(state) => state.as_str(),
            Self::Canceled => "canceled",
            Self::Forgotten => "forgotten",
        }
    }
}

impl Event<'_> {
    /// Returns the counter of the event.
    #[inline(always)]
    pub(super) fn counter(&self) -> Option<Counter> {
        Some(match self {
            Self::Granted { after: None, .. } => Counter::FirstGrants,
            Self::Granted { after: Some(GrantEnd::Lapsed), .. } => Counter::Takeovers,
            Self::Granted { after: Some(GrantEnd::Failed), .. } => Counter::Retries,
            Self::Granted { after: Some(GrantEnd::Released), .. } => Counter::GrantsAfterRelease,
            Self::GrantRepeated { .. } => Counter::RepeatedGrants,
            Self::Answered { in_doubt: true, .. } => Counter::InDoubt,
            Self::Answered { answer: State::Completed, .. } => Counter::ReplayedResults,
            Self::Answered { answer: State::Failed, .. } => Counter::ReplayedFailures,
            Self::Answered { .. } => Counter::InProgress,
            Self::NotAcquired { .. } => Counter::AcquireErrors,
            Self::Ended { outcome: Outcome::Completed, .. } => Counter::Completed,
            Self::Ended { outcome: Outcome::Failed, .. } => Counter::Failed,
            Self::Ended { outcome: Outcome::Released, .. } => Counter::Released,
            Self::Ended { outcome: Outcome::Abandoned, .. } => Counter::Abandoned,
            Self::Ended { outcome: Outcome::Unused, .. } => Counter::Unused,
            Self::Ended { outcome: Outcome::InDoubt, .. } => Counter::LeftInDoubt,
            Self::Renewed { .. } => Counter::Renewals,
            Self::NotRenewed { .. } => Counter::FailedRenewals,
            Self::Stalled { .. } => Counter::Stalls,
            Self::Lost { .. } => Counter::LostLeases,
            Self::Stale { .. } => Counter::StaleRefusals,
            Self::Operated { action: Action::Resolved(_), forced: false, .. } => Counter::Resolved,
            Self::Operated { action: Action::Resolved(_), forced: true, .. } => Counter::ForcedResolutions,
            Self::Operated { action: Action::Canceled, .. } => Counter::Canceled,
            Self::Operated { action: Action::Forgotten, forced: false, .. } => Counter::Forgotten,
            Self::Operated { action: Action::Forgotten, forced: true, .. } => Counter::ForcedRemovals,
            Self::Purged { .. } => Counter::Purged,
            Self::NotChecked { .. }
            | Self::NotAbandoned { .. }
            | Self::NotStored { .. }
            | Self::InvalidCode { .. }
            | Self::NotPurged { .. }
            | Self::NotSurveyed { .. } => return None,
        })
    }

    /// Returns the amount by which the event raises its counter.
    #[inline(always)]
    pub(super) fn amount(&self) -> u64 {
        match self {
            Self::Purged { records } => *records,
            _ => 1,
        }
    }

    /// Returns the counter of a special case that the event is as well.
    #[inline(always)]
    pub(super) fn special(&self) -> Option<Counter> {
        match self {
            Self::Ended { late: true, .. } => Some(Counter::LateOutcomes),
            Self::Renewed { .. } if self.is_near_miss() => Some(Counter::NearMisses),
            _ => None,
        }
    }

    /// Returns whether a renewal came shortly before the holder would have had to stop.
    #[inline]
    pub(super) fn is_near_miss(&self) -> bool {
        matches!(self, Self::Renewed { margin, ttl, .. } if *margin < *ttl / 10)
    }

    #[inline(always)]
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Answered { .. } => Level::TRACE,
            Self::Granted { after: Some(GrantEnd::Lapsed), .. }
            | Self::Ended { late: true, .. }
            | Self::Operated { .. } => Level::INFO,
            Self::Granted { .. }
            | Self::GrantRepeated { .. }
            | Self::NotAcquired { .. }
            | Self::Ended { .. }
            | Self::NotChecked { .. }
            | Self::Purged { .. } => Level::DEBUG,
            Self::Renewed { .. } if !self.is_near_miss() => Level::TRACE,
            Self::Renewed { .. }
            | Self::NotRenewed { .. }
            | Self::Stalled { .. }
            | Self::Lost { .. }
            | Self::Stale { .. }
            | Self::NotAbandoned { .. }
            | Self::NotStored { .. }
            | Self::InvalidCode { .. }
            | Self::NotPurged { .. }
            | Self::NotSurveyed { .. } => Level::WARN,
        }
    }
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
            Self::Unused => "unused",
            Self::InDoubt => "in_doubt",
        }
    }
}
