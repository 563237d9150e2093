//! The clock of a log. It never runs backwards, not even over a restart.
//!
//! The clock is reserved ahead. Every frame durably reserves the clock up to its `clock`, which is
//! [`RESERVE_MICROS`] ahead of the write. A time counts as final only up to the reservation, and an
//! opening returns no time before it. While the clock is read and nothing is written, the
//! superblock extends the reservation.
//!
//! Reserved time has not all passed. An opening therefore counts from the latest time that the log
//! has certainly reached, which after a crash is [`RESERVE_MICROS`] before the end of the
//! reservation, and waits until the end is reached. If it started at the end instead, every crash
//! would shorten all leases by that much. The wall clock shortens the wait, unless it was set back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, SystemClock, Timestamp};

/// The time by which the clock is reserved in advance, in µs.
const RESERVE_MICROS: u64 = 200_000;

/// The clock of a log and its reservation. All times are in µs since 1970.
#[derive(Debug)]
pub(crate) struct ClockReservation {
    source: ClockSource,
    clock: Arc<dyn Clock>,
    /// The difference between the running time and `clock`.
    shift: u64,
    /// No earlier time is returned.
    floor: u64,
    /// The end of the reservation. It is at most [`RESERVE_MICROS`] ahead of the running time.
    reserved: AtomicU64,
    /// The latest time that was returned although it was not reserved.
    latest_unreserved: AtomicU64,
}

/// The source of the time.
#[derive(Clone, Debug)]
pub(crate) enum ClockSource {
    System,
    /// The clock that was given to the builder.
    Custom(Arc<dyn Clock>),
}

impl ClockSource {
    /// Returns the time of the wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        match self {
            Self::System => SystemClock::new().now(),
            Self::Custom(clock) => clock.now(),
        }
    }
}

impl ClockReservation {
    /// Starts the clock of a log that may have returned times up to `reserved`, and has certainly
    /// reached `reached`. Blocks until the reserved time has passed, for [`RESERVE_MICROS`] at
    /// most.
    pub(crate) fn starting_at(source: ClockSource, reserved: u64, reached: u64) -> Self {
        let clock: Arc<dyn Clock> = match &source {
            ClockSource::System => Arc::new(SystemClock::new()),
            ClockSource::Custom(clock) => Arc::clone(clock),
        };
        let start = reserved.saturating_sub(RESERVE_MICROS).max(reached);
        let shift = start.saturating_sub(clock.now().as_micros());
        let floor = reserved.max(reached);
        let this = Self {
            source,
            clock,
            shift,
            floor,
            reserved: AtomicU64::new(floor),
            latest_unreserved: AtomicU64::new(0),
        };
        let behind = floor.saturating_sub(this.running());
        if behind > 0 {
            this.clock.pass(Duration::from_micros(behind));
        }
        this
    }

    /// Returns the time of the wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        self.source.wall()
    }

    /// Returns a time that advances as real time does.
    fn running(&self) -> u64 {
        (self.clock.now().as_micros() + self.shift).min(Timestamp::MAX.as_micros())
    }

    /// Returns the time. It stands still until the floor is reached, in case the clock did not wait
    /// for that.
    fn read(&self) -> u64 {
        self.running().max(self.floor)
    }

    /// Returns the time, and whether the reservation should be extended soon.
    pub(crate) fn now(&self) -> (Timestamp, bool) {
        let running = self.running();
        let now = running.max(self.floor);
        let reserved = self.reserved.load(Ordering::Acquire);
        if now > reserved {
            self.latest_unreserved.fetch_max(now, Ordering::Relaxed);
        }
        (timestamp(now), running + RESERVE_MICROS / 2 > reserved)
    }

    /// Returns the time if it is reserved, and whether the reservation should be extended soon.
    pub(crate) fn reserved_now(&self) -> (Option<Timestamp>, bool) {
        let now = self.read();
        let reserved = self.reserved.load(Ordering::Acquire);
        ((now <= reserved).then(|| timestamp(now)), now + RESERVE_MICROS / 2 > reserved)
    }

    /// Returns whether every time that was returned is reserved.
    pub(crate) fn is_reserved(&self) -> bool {
        self.latest_unreserved.load(Ordering::Relaxed) <= self.reserved.load(Ordering::Acquire)
    }

    /// Returns the end of the reservation that a frame written now makes.
    pub(crate) fn next_reservation(&self) -> u64 {
        let ahead = self.running().saturating_add(RESERVE_MICROS).max(self.floor);
        ahead.min(Timestamp::MAX.as_micros())
    }

    /// Extends the reservation to `until`, which is durable by now.
    pub(crate) fn reserve_until(&self, until: u64) {
        self.reserved.fetch_max(until, Ordering::Release);
    }

    /// Stops the clock. Returns a time that is not before any that was returned.
    pub(crate) fn close(&self) -> u64 {
        let now = self.read();
        self.latest_unreserved.store(u64::MAX, Ordering::Relaxed);
        self.reserved.store(now, Ordering::Release);
        now
    }
}

fn timestamp(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
}
