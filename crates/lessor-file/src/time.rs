//! The log's clock: it never runs backwards, not over a restart either.
//!
//! No time is told that the log could forget: every frame says up to when time may be told (its `clock`), a
//! little ahead of when it was written, and an opening tells no earlier time. What is asked for while nothing is written has
//! a frame written of its own, at most every 100 ms.
//!
//! What is covered has not all passed yet. An opening counts from the latest time that the log has certainly reached, which after a crash
//! is [`AHEAD_MICROS`] less, and waits until it comes to the end of what was covered. If it began there at once, each crash would have
//! all leases lapse early by that much. The wall clock shortens the wait, unless it was set back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, SystemClock, Timestamp};

/// How far ahead time is covered.
const AHEAD_MICROS: u64 = 200_000;

#[derive(Debug)]
pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// By how much the running time is ahead of the clock, in µs.
    shift: u64,
    /// No earlier time is told.
    floor: u64,
    /// Time may be told up to here, which is never ahead of the running time by more than [`AHEAD_MICROS`].
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
    /// The clock of a log that may have told times up to `covered`, and has certainly reached `reached`. Waits until what was covered
    /// has passed, which takes [`AHEAD_MICROS`] at most.
    pub(crate) fn starting_at(source: &Source, covered: u64, reached: u64) -> Self {
        let clock: Arc<dyn Clock> = match source {
            Source::System => Arc::new(SystemClock::new()),
            Source::Given(clock) => Arc::clone(clock),
        };
        let start = covered.saturating_sub(AHEAD_MICROS).max(reached);
        let shift = start.saturating_sub(clock.now().as_micros());
        let floor = covered.max(reached);
        let time = Self { clock, shift, floor, covered: AtomicU64::new(floor), told: AtomicU64::new(0) };
        let behind = floor.saturating_sub(time.running());
        if behind > 0 {
            time.clock.pass(Duration::from_micros(behind));
        }
        time
    }

    /// Goes on as real time does.
    fn running(&self) -> u64 {
        (self.clock.now().as_micros() + self.shift).min(Timestamp::MAX.as_micros())
    }

    /// Stands still where what was told before is not reached yet, should the clock not have waited for that.
    fn read(&self) -> u64 {
        self.running().max(self.floor)
    }

    /// The time, and whether it should be covered soon.
    pub(crate) fn now(&self) -> (Timestamp, bool) {
        let running = self.running();
        let now = running.max(self.floor);
        let covered = self.covered.load(Ordering::Acquire);
        if now > covered {
            self.told.fetch_max(now, Ordering::Relaxed);
        }
        (stamp(now), running + AHEAD_MICROS / 2 > covered)
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
        let ahead = self.running().saturating_add(AHEAD_MICROS).max(self.floor);
        ahead.min(Timestamp::MAX.as_micros())
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
