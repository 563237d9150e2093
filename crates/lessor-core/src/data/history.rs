//! The history of a record, as observers see it.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::trace::{Checkpoints, Ending, Renewals};

/// One entry of a record's history. See [`View::history`](crate::View::history).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    kind: HistoryKind,
    at: Timestamp,
    attempt: u32,
    token: Token,
    holder: Option<Box<str>>,
    count: u32,
    least_ttl_left: Option<Duration>,
    by: EndedBy,
}

/// The kind of an entry of a record's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryKind {
    /// The key was granted to a holder.
    Granted,
    /// The holder extended its lease, once or several times.
    Renewed,
    /// The holder stored a checkpoint, once or several times.
    Checkpointed,
    /// The work was completed.
    Completed,
    /// The work failed.
    Failed,
    /// The lease was released without an outcome.
    Released,
    /// The holder abandoned its lease, or dropped it.
    Abandoned,
    /// The lease ran out before there was an outcome.
    Lapsed,
    /// The holder left the key in doubt. The time is the end of its lease.
    LeftInDoubt,
}

/// The party that ended a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndedBy {
    /// The holder of the lease, or time.
    #[default]
    Holder,
    /// An operator, who [resolved](crate::Engine::resolve) a key whose lease had lapsed.
    Operator,
    /// An operator, who resolved the key by force while its lease was live.
    OperatorByForce,
}

impl HistoryEntry {
    /// Returns what happened.
    #[must_use]
    pub fn kind(&self) -> HistoryKind {
        self.kind
    }

    /// Returns the time at which it happened. Of several renewals or checkpoints, the last one.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the number of the grant.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the token of the grant.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the label of the holder, if it had one. For grants before the former one, at most
    /// the first 64 bytes.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// Returns the number of renewals or checkpoints. 1 for all other entries.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns the smallest time that was left of the lease at a renewal. `None` for other entries.
    #[must_use]
    pub fn least_ttl_left(&self) -> Option<Duration> {
        self.least_ttl_left
    }

    /// Returns the party that ended the grant. [`EndedBy::Holder`] for entries that are not ends.
    #[must_use]
    pub fn by(&self) -> EndedBy {
        self.by
    }
}

impl HistoryKind {
    /// Returns the kind in lower case, with spaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Renewed => "renewed",
            Self::Checkpointed => "checkpointed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
            Self::Lapsed => "lapsed",
            Self::LeftInDoubt => "left in doubt",
        }
    }
}

impl fmt::Display for HistoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Durations are in seconds and times in microseconds since 1970.
impl Serialize for HistoryEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            kind: HistoryKind,
            at: Timestamp,
            attempt: u32,
            token: Token,
            holder: Option<&'a str>,
            count: u32,
            least_ttl_left: Option<f64>,
            by: EndedBy,
        }
        Shown {
            kind: self.kind,
            at: self.at,
            attempt: self.attempt,
            token: self.token,
            holder: self.holder(),
            count: self.count,
            least_ttl_left: self.least_ttl_left.map(|left| left.as_secs_f64()),
            by: self.by,
        }
        .serialize(serializer)
    }
}

impl EndedBy {
    pub(crate) fn of(ending: Ending) -> Self {
        match ending.by() {
            Ending::OPERATOR => Self::Operator,
            Ending::FORCED => Self::OperatorByForce,
            _ => Self::Holder,
        }
    }
}

/// One grant of a record, of which the entries are made.
pub(crate) struct GrantHistory<'a> {
    pub(crate) attempt: u32,
    pub(crate) token: Token,
    pub(crate) granted_at: Timestamp,
    pub(crate) holder: Option<&'a str>,
    pub(crate) renewals: Option<Renewals>,
    pub(crate) checkpoints: Option<Checkpoints>,
    /// The end of the lease, if it ended before there was an outcome.
    pub(crate) lapse: Option<(HistoryKind, Timestamp)>,
    pub(crate) outcome: Option<(HistoryKind, Timestamp, EndedBy)>,
}

impl GrantHistory<'_> {
    /// Appends the entries in the order of time.
    pub(crate) fn list(&self, entries: &mut Vec<HistoryEntry>) {
        let entry = |kind, at| HistoryEntry {
            kind,
            at,
            attempt: self.attempt,
            token: self.token,
            holder: self.holder.map(Into::into),
            count: 1,
            least_ttl_left: None,
            by: EndedBy::Holder,
        };
        entries.push(entry(HistoryKind::Granted, self.granted_at));
        let renewed = self.renewals.map(|renewals| HistoryEntry {
            count: renewals.count,
            least_ttl_left: Some(renewals.least_left),
            ..entry(HistoryKind::Renewed, renewals.last_at)
        });
        let checkpointed = self.checkpoints.map(|checkpoints| HistoryEntry {
            count: checkpoints.count,
            ..entry(HistoryKind::Checkpointed, checkpoints.last_at)
        });
        let mut during: Vec<_> = [renewed, checkpointed].into_iter().flatten().collect();
        during.sort_by_key(HistoryEntry::at);
        entries.append(&mut during);
        entries.extend(self.lapse.map(|(kind, at)| entry(kind, at)));
        entries.extend(self.outcome.map(|(kind, at, by)| HistoryEntry { by, ..entry(kind, at) }));
    }

    /// Returns the number of the entries.
    pub(crate) fn len(&self) -> usize {
        1 + usize::from(self.renewals.is_some())
            + usize::from(self.checkpoints.is_some())
            + usize::from(self.lapse.is_some())
            + usize::from(self.outcome.is_some())
    }
}
