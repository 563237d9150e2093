//! The parts and the size of a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bugs::Bug;
use crate::table;
use crate::words::{Operation, Time, Who};

/// How a store keeps the tokens of fresh grants above those of purged records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It compares them in the step that writes, as the memory store and the file log do.
    Local,
    /// By age, as on Redis: a record is purged once its token is old, and a fresh grant that arrives late does not count.
    Server,
}

/// How often each event may still occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) acquires: u8,
    /// Acts of holders.
    pub(crate) acts: u8,
    /// Operations that are sent again under the same lease id.
    pub(crate) agains: u8,
    pub(crate) operations: u8,
    /// Writes whose caller gives up on the answer. They arrive later, or never.
    pub(crate) doubts: u8,
    /// Requests that the store refuses as unavailable.
    pub(crate) failures: u8,
    pub(crate) crashes: u8,
    /// Acquires that are dropped before their answer.
    pub(crate) hangups: u8,
    /// Lease ids that are passed on to another caller.
    pub(crate) handles: u8,
    /// Steps of the clock by one microsecond.
    pub(crate) ticks: u8,
    /// Steps of the clock to an instant at which something changes.
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
    pub(crate) callers: Vec<Who>,
    pub(crate) deeds: Vec<Work>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) left: Left,
    /// The number of writes that may be under way without a caller.
    pub(crate) orphans: usize,
    /// How far a reading of the clock may be ahead of it.
    pub(crate) ahead: Option<Time>,
    /// Callers choose their lease ids. Otherwise the engine abandons an acquire that may have been granted.
    pub(crate) is_chosen: bool,
    /// A caller that finds the key held waits.
    pub(crate) waits: bool,
    /// The checks in force, as bits of [`Check`](crate::checks::Check).
    pub(crate) checks: u32,
    pub(crate) bug: Option<Bug>,
    pub(crate) met: Met,
}

/// The answers and events that occurred, which says whether a model reaches what it is meant to check.
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

/// The acts of holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Extend,
    Checkpoint,
    Complete,
    /// With a result that differs from the one of `Complete`.
    CompleteOtherwise,
    Fail,
    Release,
    Abandon,
}
