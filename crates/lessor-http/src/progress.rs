//! [`Progress`], what a connection does at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const WAITS: u8 = 0;
const READS: u8 = 1;
const WORKS: u8 = 2;

/// What a connection does at the moment: it waits for a request, reads its body, or works on it. A
/// server that has to close a connection closes one that does not work.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<State>);

#[derive(Debug)]
struct State {
    stage: AtomicU8,
    /// The number of the last change among the changes of all connections.
    change: AtomicU64,
    changes: Arc<AtomicU64>,
}

impl Progress {
    /// Returns the state of a new connection, which waits. All connections of a server share
    /// `changes`.
    pub(crate) fn new(changes: &Arc<AtomicU64>) -> Self {
        let (stage, changes) = (AtomicU8::new(WAITS), Arc::clone(changes));
        let change = AtomicU64::new(changes.fetch_add(1, Ordering::Relaxed));
        Self(Arc::new(State { stage, change, changes }))
    }

    pub(crate) fn waits(&self) {
        self.set(WAITS);
    }

    pub(crate) fn reads(&self) {
        self.set(READS);
    }

    pub(crate) fn works(&self) {
        self.set(WORKS);
    }

    fn set(&self, stage: u8) {
        self.0.stage.store(stage, Ordering::Relaxed);
        self.0.change.store(self.0.changes.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns the order in which connections are closed if there are too many: those that have
    /// waited for the longest time first. `None` while a request is worked on.
    pub(crate) fn rank(&self) -> Option<(u8, u64)> {
        match self.0.stage.load(Ordering::Relaxed) {
            WORKS => None,
            stage => Some((stage, self.0.change.load(Ordering::Relaxed))),
        }
    }
}
