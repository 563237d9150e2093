//! The log's clock: it never runs backwards, not over a restart either.
//!
//! No time is told that the log could forget: every frame says up to when time may be told (its `clock`), a
//! little ahead of when it was written, and an opening begins no earlier. What is asked for while nothing is written has
//! a frame written of its own, at most every 100 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, SystemClock, Timestamp};

/// How far ahead time is covered.
const AHEAD_MICROS: u64 = 200_000;

#[derive(Debug)]
pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// By how much the log's time is ahead of the clock, in µs.
    shift: u64,
    /// Time may be told up to here.
    covered: AtomicU64,
    /// A time that was told although it was not covered.
    told: AtomicU64,
}

/// What the time is read from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    System,
    /// The caller's own.
    Given(Arc<dyn Clock>),
}

impl Source {
    /// What the wall clock says at this moment.
    pub(crate) fn wall(&self) -> Timestamp {
        match self {
            Self::System => SystemClock::new().now(),
            Self::Given(clock) => clock.now(),
        }
    }
}

impl Time {
    /// A clock that starts at `floor` at the earliest. If the wall clock is only a little behind, that is because time was covered
    /// ahead: it is waited for, so that no lease lapses early.
    pub(crate) fn starting_at(source: &Source, floor: u64) -> Self {
        let clock: Arc<dyn Clock> = match source {
            Source::System => {
                wait_for(floor);
                Arc::new(SystemClock::new())
            }
            Source::Given(clock) => Arc::clone(clock),
        };
        let shift = floor.saturating_sub(clock.now().as_micros());
        Self { clock, shift, covered: AtomicU64::new(floor), told: AtomicU64::new(0) }
    }

    fn read(&self) -> u64 {
        (self.clock.now().as_micros() + self.shift).min(Timestamp::MAX.as_micros())
    }

    /// The time, and whether it should be covered soon.
    pub(crate) fn now(&self) -> (Timestamp, bool) {
        let now = self.read();
        let covered = self.covered.load(Ordering::Acquire);
        if now > covered {
            self.told.fetch_max(now, Ordering::Relaxed);
        }
        (stamp(now), now + AHEAD_MICROS / 2 > covered)
    }

    /// The time if it may be told for good, and whether it should be covered soon.
    pub(crate) fn covered_now(&self) -> (Option<Timestamp>, bool) {
        let now = self.read();
        let covered = self.covered.load(Ordering::Acquire);
        ((now <= covered).then(|| stamp(now)), now + AHEAD_MICROS / 2 > covered)
    }

    /// Whether every time that was told is covered.
    pub(crate) fn is_covered(&self) -> bool {
        self.told.load(Ordering::Relaxed) <= self.covered.load(Ordering::Acquire)
    }

    /// Up to when a frame that is written now lets time be told.
    pub(crate) fn cover_to(&self) -> u64 {
        self.read().saturating_add(AHEAD_MICROS).min(Timestamp::MAX.as_micros())
    }

    /// A frame that says so is durable.
    pub(crate) fn cover(&self, upto: u64) {
        self.covered.fetch_max(upto, Ordering::Release);
    }

    /// Tells no time any more, and what no time that was told is behind.
    pub(crate) fn close(&self) -> u64 {
        let now = self.read();
        self.told.store(u64::MAX, Ordering::Relaxed);
        self.covered.store(now, Ordering::Release);
        now
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

fn stamp(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the opening of a store waits for its own past")]
fn wait_for(floor: u64) {
    let behind = floor.saturating_sub(SystemClock::new().now().as_micros());
    if behind <= AHEAD_MICROS {
        std::thread::sleep(Duration::from_micros(behind));
    }
}
