//! The parts that survive a simulated process: the store, the clock, and the sink with its effects.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Cas, Engine, Settings, Store};
use lessor_fence::{MemoryFence, StaleToken};
use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::plain::PlainStore;

/// The time that passes if there is no live lease.
const IDLE: Duration = Duration::from_secs(60);
/// The number of keys that are listed at a time.
const PAGE: usize = 1000;

#[derive(Debug)]
pub(crate) struct World {
    store: Arc<dyn Store>,
    clock: ManualClock,
    settings: Settings,
    /// Lists the leases.
    observer: Engine,
    fence: MemoryFence,
    effects: Mutex<Vec<Effect>>,
}

/// An effect that the sink has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) name: String,
    pub(crate) key: String,
    /// The number of the worker that caused it.
    pub(crate) worker: usize,
}

impl World {
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub(crate) fn new(mut settings: Settings) -> Self {
        settings.schedule.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
        let clock = ManualClock::new();
        let store = clock.driving(Arc::new(Cas::new(PlainStore::new(clock.clone()))));
        let observer = Engine::with_settings(Arc::clone(&store), settings.clone()).expect("valid settings");
        Self { store, clock, settings, observer, fence: MemoryFence::new(), effects: Mutex::default() }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub(crate) fn engine(&self, store: Arc<dyn Store>) -> Engine {
        Engine::with_settings(store, self.settings.clone()).expect("an engine over the store")
    }

    /// Lets so much time pass that all leases lapse.
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub(crate) fn outlast_leases(&self) {
        let (mut longest, mut after) = (None, None);
        loop {
            let page = self.observer.list().after(after).limit(PAGE).wait().expect("the store can be listed");
            longest = page.entries.iter().filter_map(|(_, view)| view.ttl_left()).max().max(longest);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.clock.advance(longest.map_or(IDLE, |left| left + Duration::from_millis(1)));
    }

    /// Shows a token to the sink.
    pub(crate) fn check(&self, key: &str, token: u64) -> Result<(), StaleToken> {
        self.fence.check(key, token)
    }

    pub(crate) fn happen(&self, effect: Effect) {
        self.effects.lock().push(effect);
    }

    pub(crate) fn has_happened(&self, name: &str, key: &str) -> bool {
        self.effects.lock().iter().any(|effect| effect.name == name && effect.key == key)
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.effects.lock().clone()
    }
}
