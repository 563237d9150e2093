//! A state of the model.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::checks::Ghost;
use crate::config::{Config, Left};
use crate::flight::{Flight, Put};
use crate::server::Server;
use crate::waiting::{Post, Wait};
use crate::words::{Cmd, Id, Rec, START, Time, Who};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) clock: Time,
    pub(crate) server: Server,
    pub(crate) callers: Vec<Caller>,
    /// Writes under way without a caller.
    pub(crate) orphans: Vec<Orphan>,
    pub(crate) post: Post,
    pub(crate) left: Left,
    /// The next lease id.
    pub(crate) next_id: u8,
    pub(crate) ghost: Ghost,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) is_operator: bool,
    pub(crate) lease: Option<Lease>,
    pub(crate) flight: Option<Flight>,
    /// The answer to the write is under way.
    pub(crate) is_answered: bool,
    /// The operation that may be sent again.
    pub(crate) last: Option<Cmd>,
    pub(crate) wait: Option<Wait>,
}

/// A lease in a caller's hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) id: Id,
    /// The record as this holder last wrote it. A handle by lease id has none.
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
            post: Post::default(),
            left: config.left,
            next_id: 1,
            ghost: Ghost::default(),
        };
        state.tidy();
        state
    }

    pub(crate) fn draw(&mut self) -> Id {
        let id = Id(self.next_id);
        self.next_id += 1;
        id
    }

    /// Makes states equal that have the same future.
    pub(crate) fn tidy(&mut self) {
        let clock = self.clock;
        self.ghost.tidy(clock);
        for caller in &mut self.callers {
            if self.left.agains == 0 {
                caller.last = None;
            }
        }
        if self.callers.iter().all(|caller| caller.wait.is_none()) {
            self.post = Post::default();
        }
        self.rank_stamps();
        // Callers are interchangeable.
        self.callers.sort_by_cached_key(hash);
        self.orphans.sort_by_cached_key(hash);
    }

    /// Only the order of stamps matters.
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
        waits.map(|wait| &mut wait.stamp).chain(self.post.stamps())
    }

    /// A stamp later than all there are.
    pub(crate) fn stamp(&mut self) -> u8 {
        self.stamps().map(|stamp| *stamp).max().unwrap_or(0) + 1
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
