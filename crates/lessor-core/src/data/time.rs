//! Time as the stores count it, and the one place of the workspace that reads a clock.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole microseconds since the Unix epoch, below 2^53 (the year 2255), so that JSON numbers carry it exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The last instant that can be expressed: 2^53 - 1 microseconds.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// `None` from 2^53 microseconds on.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros <= Self::MAX.0 { Some(Self(micros)) } else { None }
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The instant `by` later, or `None` past [`Timestamp::MAX`]. Fractions of a microsecond round up.
    #[must_use]
    pub fn checked_add(self, by: Duration) -> Option<Self> {
        self.0.checked_add(whole_micros(by)).and_then(Self::from_micros)
    }

    /// The instant `by` later, or [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        self.checked_add(by).unwrap_or(Self::MAX)
    }

    /// The instant `by` earlier, or the epoch.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(whole_micros(by)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same instant as the standard library counts it.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

/// Rounded up, so that a positive duration never becomes zero.
#[inline]
pub(crate) fn whole_micros(duration: Duration) -> u64 {
    let fraction = u64::from(duration.subsec_nanos().div_ceil(1000));
    duration.as_secs().saturating_mul(1_000_000).saturating_add(fraction)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}µs", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl From<Timestamp> for u64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl TryFrom<u64> for Timestamp {
    type Error = &'static str;
    fn try_from(micros: u64) -> Result<Self, Self::Error> {
        Self::from_micros(micros).ok_or("timestamp is past 2^53 microseconds; give microseconds since 1970")
    }
}

/// A clock that local stores count by.
///
/// # Contract
/// `now` never runs backwards, and a step of the wall clock does not move it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns a time that was right at most a moment ago, at less cost than [`now`](Self::now) if the clock can. Two readings of a
    /// thread never run backwards.
    ///
    /// A store may answer by it where the answer would be the same a second later.
    fn recent(&self) -> Timestamp {
        self.now()
    }

    /// Blocks until so much time has passed by this clock. Opening a store calls it. By default the thread sleeps; a clock that is set by
    /// hand moves on by itself instead.
    #[expect(clippy::disallowed_methods, reason = "the opening of a store waits for its own past")]
    fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The machine's time: the wall clock read once, then a monotonic clock that goes on during suspend.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// What the wall clock said, less what the monotonic clock said at that moment, in microseconds.
    anchor: u64,
}

impl SystemClock {
    /// Anchors the clock to the wall clock of this moment.
    #[must_use]
    pub fn new() -> Self {
        Self::not_before(Timestamp::EPOCH)
    }

    /// Anchors the clock to the wall clock, but at `floor` at the earliest: a store that knows times from before a
    /// restart starts after them even if the wall clock was set back meanwhile.
    #[must_use]
    pub fn not_before(floor: Timestamp) -> Self {
        let monotonic = monotonic_micros();
        #[expect(clippy::disallowed_methods, reason = "the one reading that anchors the monotonic clock")]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = whole_micros(wall).max(floor.0);
        Self { anchor: start.saturating_sub(monotonic) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        self.at(monotonic_micros())
    }

    #[inline]
    fn recent(&self) -> Timestamp {
        self.at(recent_micros())
    }
}

impl SystemClock {
    #[inline]
    fn at(self, monotonic: u64) -> Timestamp {
        Timestamp(self.anchor.saturating_add(monotonic).min(Timestamp::MAX.0))
    }
}

/// Spans of real time, whatever the store's clock does: for pauses that no rule of leases depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Monotonic(u64);

impl Monotonic {
    pub(crate) const MAX: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        Self(monotonic_micros())
    }

    pub(crate) const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub(crate) const fn as_micros(self) -> u64 {
        self.0
    }

    pub(crate) fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(by)))
    }

    pub(crate) fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// `CLOCK_BOOTTIME` where there is one: unlike `Instant`, it counts the time a machine spent suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic_micros() -> u64 {
    from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// Returns the thread's last reading of the clock, if it was made in the current tick of the kernel; else reads the clock.
///
/// The kernel counts its ticks, of 1 to 10 ms, also while this thread or any other is kept from running. A machine that wakes up
/// from suspend counts ticks before it lets processes run. So the reading is right up to a tick. The kernel's count of ticks costs
/// a fourth of a reading.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn recent_micros() -> u64 {
    thread_local! {
        /// A tick, and the first reading in it.
        static LAST: Cell<(u64, u64)> = const { Cell::new((u64::MAX, 0)) };
    }
    let tick = from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse));
    let (last_tick, reading) = LAST.get();
    if tick == last_tick {
        return reading;
    }
    let reading = monotonic_micros();
    LAST.set((tick, reading));
    reading
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn recent_micros() -> u64 {
    monotonic_micros()
}

/// On Apple systems `CLOCK_MONOTONIC` goes on during sleep (`Instant` does not).
#[cfg(target_vendor = "apple")]
fn monotonic_micros() -> u64 {
    from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn from_timespec(at: rustix::time::Timespec) -> u64 {
    u64::try_from(at.tv_sec).unwrap_or(0).saturating_mul(1_000_000)
        + u64::try_from(at.tv_nsec).unwrap_or(0) / 1000
}

/// Elsewhere the standard library's monotonic clock, counted from its first use.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
#[expect(clippy::disallowed_methods, reason = "the home of the monotonic clock")]
fn monotonic_micros() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(std::time::Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_the_system_clock_never_runs_backwards_and_starts_at_its_floor() {
        let floor = Timestamp::from_micros(SystemClock::new().now().0 + 3_600_000_000).unwrap();
        let clock = SystemClock::not_before(floor);
        let mut last = clock.now();
        assert!(last >= floor);
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn p12_arithmetic_stops_at_the_ends() {
        assert_eq!(Timestamp::from_micros(1 << 53), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_micros(1)), None);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.saturating_sub(Duration::MAX), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.checked_add(Duration::from_nanos(1)), Timestamp::from_micros(1));
    }
}
