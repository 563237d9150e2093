//! A state of the model.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::checks::History;
use crate::config::{Config, Left};
use crate::flight::{InFlight, Put};
use crate::server::Server;
use crate::waiting::{Reader, Wait};
use crate::words::{CallerKind, Cmd, Id, Rec, START, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) clock: Time,
    pub(crate) server: Server,
    pub(crate) callers: Vec<Caller>,
    /// The writes in flight without a caller.
    pub(crate) orphans: Vec<Orphan>,
    pub(crate) reader: Reader,
    pub(crate) left: Left,
    /// The next lease id.
    pub(crate) next_id: u8,
    pub(crate) history: History,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Caller {
    pub(crate) who: CallerKind,
    pub(crate) is_operator: bool,
    pub(crate) lease: Option<Lease>,
    pub(crate) flight: Option<InFlight>,
    /// True if the reply to the write is in flight.
    pub(crate) is_answered: bool,
    /// The operation that may be repeated.
    pub(crate) last: Option<Cmd>,
    pub(crate) wait: Option<Wait>,
}

/// A lease that a caller has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) id: Id,
    /// The last record that this holder wrote. `None` for a handle by lease id.
    pub(crate) rec: Option<Rec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Orphan {
    pub(crate) cmd: Cmd,
    pub(crate) put: Put,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        let mut callers: Vec<Caller> =
            config.callers.iter().map(|&who| Caller { who, ..Caller::default() }).collect();
        if !config.operations.is_empty() {
            callers.push(Caller { is_operator: true, ..Caller::default() });
        }
        let mut state = Self {
            clock: START,
            server: Server::default(),
            callers,
            orphans: Vec::new(),
            reader: Reader::default(),
            left: config.left,
            next_id: 1,
            history: History::default(),
        };
        state.normalise();
        state
    }

    pub(crate) fn draw(&mut self) -> Id {
        let id = Id(self.next_id);
        self.next_id += 1;
        id
    }

    /// Makes states with the same future equal.
    pub(crate) fn normalise(&mut self) {
        let clock = self.clock;
        self.history.normalise(clock);
        for caller in &mut self.callers {
            if self.left.agains == 0 {
                caller.last = None;
            }
        }
        if self.callers.iter().all(|caller| caller.wait.is_none()) {
            self.reader = Reader::default();
        }
        self.rank_stamps();
        // Callers are interchangeable.
        self.callers.sort_by_cached_key(hash);
        self.orphans.sort_by_cached_key(hash);
    }

    /// Replaces stamps by their ranks, because only their order matters.
    fn rank_stamps(&mut self) {
        let mut stamps: Vec<u8> = self.stamps().map(|stamp| *stamp).collect();
        stamps.push(0);
        stamps.sort_unstable();
        stamps.dedup();
        let rank = |stamp: u8| u8::try_from(stamps.partition_point(|&known| known < stamp)).unwrap();
        for stamp in self.stamps() {
            *stamp = rank(*stamp);
        }
    }

    fn stamps(&mut self) -> impl Iterator<Item = &mut u8> {
        let waits = self.callers.iter_mut().filter_map(|caller| caller.wait.as_mut());
        waits.map(|wait| &mut wait.stamp).chain(self.reader.stamps())
    }

    /// Returns a stamp later than all others.
    pub(crate) fn stamp(&mut self) -> u8 {
        self.stamps().map(|stamp| *stamp).max().unwrap_or(0) + 1
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
