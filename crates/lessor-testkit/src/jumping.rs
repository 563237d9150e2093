//! A store whose callers are suspended between a decision and its write.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Spot, Swap};
use lessor_core::{Durability, Key, Record, Store, Timestamp};
use parking_lot::Mutex;

use crate::clock::ManualClock;

/// Passes calls on to a store on a [`ManualClock`], and lets time pass before its writes.
pub struct JumpingStore {
    inner: Arc<dyn Store>,
    clock: ManualClock,
    jumps: Mutex<VecDeque<Duration>>,
    /// Records are shown in place.
    edits: bool,
}

impl JumpingStore {
    /// Wraps `inner`, whose clock is `clock`. If `edits`, records are edited in place where `inner` allows it; else every write
    /// is a swap.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, clock: ManualClock, edits: bool) -> Self {
        Self { inner, clock, jumps: Mutex::default(), edits }
    }

    /// So much time passes before each of the next swaps and edits, in this order.
    pub fn jump(&self, by: impl IntoIterator<Item = Duration>) {
        self.jumps.lock().extend(by);
    }

    fn pass(&self) {
        let jump = self.jumps.lock().pop_front();
        if let Some(by) = jump {
            self.clock.advance(by);
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for JumpingStore {
    fn now(&self) -> Reply<Timestamp> {
        self.inner.now()
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        self.inner.load(key)
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        self.pass();
        self.inner.swap(key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.inner.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.inner.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.inner.close(closing)
    }

    fn glance(&self, key: &str, look: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        self.inner.glance(key, look)
    }

    fn edit(&self, key: &Key, edit: &mut dyn FnMut(&mut Spot<'_>)) -> bool {
        // Where the store shows nothing in place, the time passes before the swap that follows.
        if !self.edits || !self.inner.edit(key, &mut |_| {}) {
            return false;
        }
        self.pass();
        self.inner.edit(key, edit)
    }

    fn attach(&self, hints: Hints) {
        self.inner.attach(hints);
    }
}

impl fmt::Debug for JumpingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JumpingStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}
