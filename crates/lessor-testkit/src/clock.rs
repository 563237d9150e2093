//! A clock that tests control.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::store::ChangeNotifier;
use lessor_core::{Clock, Store, Timestamp};
use parking_lot::Mutex;

use crate::layer::{Layer, Layered};

/// The initial time of a clock: the first second of 2026.
const START: u64 = 1_767_225_600_000_000;

/// A clock that stands still until a test advances it. Clones share the time.
///
/// An engine sleeps by real time, so it has to be notified when the clock is advanced. Create the
/// engine over the store that [`driving`](Self::driving) returns. Timers that become due then fire
/// immediately, on the engine's threads.
///
/// ```
/// use std::time::Duration;
/// use lessor_core::Clock;
/// use lessor_testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.clone().advance(Duration::from_secs(5));
/// assert_eq!(clock.now().saturating_since(before), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    micros: AtomicU64,
    engines: Mutex<Vec<ChangeNotifier>>,
}

impl ManualClock {
    /// Returns a clock at the first second of 2026.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Timestamp::from_micros(START).unwrap_or(Timestamp::EPOCH))
    }

    /// Returns a clock at `start`.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Arc::new(Shared { micros: AtomicU64::new(start.as_micros()), engines: Mutex::default() }))
    }

    /// Advances the clock and returns the new time. Stops at [`Timestamp::MAX`].
    pub fn advance(&self, by: Duration) -> Timestamp {
        let step = |micros| Timestamp::from_micros(micros).map(|now| now.saturating_add(by).as_micros());
        // The update always succeeds, because the stored number is always a valid timestamp.
        let _ = self.0.micros.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
        self.tell();
        self.now()
    }

    /// Advances the clock to `at`. An earlier time has no effect, because a clock never runs
    /// backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.micros.fetch_max(at.as_micros(), Ordering::SeqCst);
        self.tell();
    }

    /// Returns a store that notifies its engines when this clock is advanced. `store` must use this
    /// clock.
    #[must_use]
    pub fn driving(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Layered(Driven { store, clock: self.clone() }))
    }

    /// Notifies the engines. No lock is held meanwhile, because they may read the clock or
    /// subscribe.
    fn tell(&self) {
        let engines = {
            let mut engines = self.0.engines.lock();
            engines.retain(|engine| !engine.is_stale());
            engines.clone()
        };
        engines.iter().for_each(ChangeNotifier::all_changed);
    }
}

struct Driven {
    store: Arc<dyn Store>,
    clock: ManualClock,
}

impl Layer for Driven {
    fn below(&self) -> &dyn Store {
        &*self.store
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.clock.0.engines.lock().push(notifier.clone());
        self.store.subscribe(notifier);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.micros.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    /// Advances the clock instead of waiting.
    fn pass(&self, time: Duration) {
        self.advance(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_clock_set_by_hand_never_runs_backwards_and_stops_at_the_end() {
        let clock = ManualClock::new();
        let start = clock.now();
        clock.set(Timestamp::EPOCH);
        assert_eq!(clock.now(), start);
        clock.set(start.saturating_add(Duration::from_secs(1)));
        assert_eq!(clock.now().saturating_since(start), Duration::from_secs(1));
        assert_eq!(clock.advance(Duration::MAX), Timestamp::MAX);
        assert_eq!(clock.advance(Duration::MAX), Timestamp::MAX);
    }
}
