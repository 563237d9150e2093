//! The parts and the size of a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bugs::Bug;
use crate::table;
use crate::words::{CallerKind, Operation, Time};

/// The method by which a store keeps the tokens of fresh grants above those of purged records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tokens are compared in the step that writes, as the in-memory and file stores do.
    Local,
    /// By age, as on Redis: a record is purged when its token is old, and a fresh grant that
    /// arrives too late does not count.
    Server,
}

/// The remaining numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) acquires: u8,
    /// Commands of holders.
    pub(crate) acts: u8,
    /// Repetitions of operations with the same lease id.
    pub(crate) agains: u8,
    pub(crate) operations: u8,
    /// Writes whose caller gives up on the reply. They arrive later or never.
    pub(crate) doubts: u8,
    /// Requests that the store refuses as unavailable.
    pub(crate) failures: u8,
    pub(crate) crashes: u8,
    /// Acquires that are dropped before their reply.
    pub(crate) hangups: u8,
    /// Lease ids that are passed to another caller.
    pub(crate) handles: u8,
    /// Steps of the clock by one microsecond.
    pub(crate) ticks: u8,
    /// Steps of the clock to a time at which something changes.
    pub(crate) jumps: u8,
    /// Waits for the end of the work.
    pub(crate) observers: u8,
    /// Acquires after a wait.
    pub(crate) turns: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) callers: Vec<CallerKind>,
    pub(crate) holder_ops: Vec<Work>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) left: Left,
    /// The maximum number of writes in flight without a caller.
    pub(crate) orphans: usize,
    /// The amount by which a reading of the clock may be ahead.
    pub(crate) ahead: Option<Time>,
    /// True if callers choose their lease ids. If not, the engine abandons an acquire that may have
    /// been granted.
    pub(crate) is_chosen: bool,
    /// True if a caller that finds the key held waits.
    pub(crate) waits: bool,
    /// The active checks, as bits of [`Check`](crate::checks::Check).
    pub(crate) checks: u32,
    pub(crate) bug: Option<Bug>,
    pub(crate) met: Met,
}

/// The answers and events that occurred. They show whether a model reaches what it has to check.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met(Arc<AtomicU32>);

/// An event that is not visible in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Purge = 24,
    /// A fresh grant arrived too late to count.
    TooLateGrant,
    /// An operation found its own write by reading.
    OwnWriteFound,
    /// An outcome arrived after the lease had lapsed.
    LateOutcome,
}

impl Met {
    pub(crate) fn answer(&self, kind: table::Kind) {
        self.0.fetch_or(1 << kind as u32, Ordering::Relaxed);
    }

    pub(crate) fn event(&self, event: Event) {
        self.0.fetch_or(1 << event as u32, Ordering::Relaxed);
    }

    pub(crate) fn has_answer(&self, kind: table::Kind) -> bool {
        self.0.load(Ordering::Relaxed) & 1 << kind as u32 != 0
    }

    pub(crate) fn has_event(&self, event: Event) -> bool {
        self.0.load(Ordering::Relaxed) & 1 << event as u32 != 0
    }
}

/// The commands of holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Extend,
    Checkpoint,
    Complete,
    /// A result that differs from that of `Complete`.
    CompleteOtherwise,
    Fail,
    FailFor,
    Release,
    Abandon,
    Doubt,
}
