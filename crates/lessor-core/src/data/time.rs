//! Timestamps and clocks. No other file of the workspace reads a clock.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::data::out_of_range::OutOfRange;

/// A time in whole microseconds since the Unix epoch. It is below 2^53 (the year 2255), so a JSON
/// number represents it exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The latest timestamp: 2^53 - 1 microseconds.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Returns the timestamp at `micros` microseconds since the Unix epoch, or `None` above
    /// [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros <= Self::MAX.0 { Some(Self(micros)) } else { None }
    }

    /// Returns the number of microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time `by` later, or `None` past [`Timestamp::MAX`]. Rounds up to whole
    /// microseconds.
    #[must_use]
    pub fn checked_add(self, by: Duration) -> Option<Self> {
        self.0.checked_add(whole_micros(by)).and_then(Self::from_micros)
    }

    /// Returns the time `by` later, or [`Timestamp::MAX`] if that is earlier.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        self.checked_add(by).unwrap_or(Self::MAX)
    }

    #[inline]
    pub(crate) fn saturating_add_micros(self, micros: u64) -> Self {
        self.0.checked_add(micros).and_then(Self::from_micros).unwrap_or(Self::MAX)
    }

    /// Returns the time `by` earlier, or the epoch if that is later.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(whole_micros(by)))
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time as a [`SystemTime`].
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

/// Returns the duration in microseconds, rounded up, so that a positive duration never becomes
/// zero.
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
    type Error = OutOfRange;
    fn try_from(micros: u64) -> Result<Self, OutOfRange> {
        Self::from_micros(micros).ok_or(OutOfRange::new("timestamp", micros))
    }
}

/// The clock of a local store.
///
/// # Contract
///
/// `now` never runs backwards, and setting the wall clock does not move it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns a time that is slightly in the past, at less cost than [`now`](Self::now) if the
    /// clock supports it. Readings by one thread never run backwards, those of `now` included.
    ///
    /// A store may use it for answers that would be the same a second later. Default: `now`.
    fn recent(&self) -> Timestamp {
        self.now()
    }

    /// Blocks until `time` has passed on this clock. Called while a store is opened.
    ///
    /// The default implementation sleeps. A manual clock advances instead.
    #[expect(clippy::disallowed_methods, reason = "opening a store may have to wait for its clock")]
    fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The clock of the machine: the wall clock, read once, plus the time that has passed on a
/// monotonic clock, which also counts the time for which the machine is suspended.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// The difference between the wall clock and the monotonic clock, in microseconds.
    anchor: u64,
}

impl SystemClock {
    /// Returns a clock that starts at the current wall-clock time.
    #[must_use]
    pub fn new() -> Self {
        Self::not_before(Timestamp::EPOCH)
    }

    /// Returns a clock that starts at the current wall-clock time, or at `floor` if that is later.
    /// A store that knows times from before a restart continues after them even if the wall clock
    /// has been set back.
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
        self.at(exact_micros())
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

/// An instant of real time, independent of the store's clock. For pauses that no rule of leases
/// depends on.
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

/// Returns the time from now until `at`, or zero if that has passed.
#[expect(clippy::disallowed_methods, reason = "deadlines of callers are instants of the standard library")]
pub(crate) fn time_until(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::now())
}

/// Reads `CLOCK_BOOTTIME`, which unlike `Instant` counts the time for which the machine is
/// suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic_micros() -> u64 {
    from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
thread_local! {
    /// The tick of the last recent reading.
    static TICK: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The last reading.
    static READING: Cell<u64> = const { Cell::new(0) };
}

/// Reads the clock for [`Clock::now`]. A recent reading that follows is not earlier.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn exact_micros() -> u64 {
    let reading = monotonic_micros();
    READING.set(reading);
    reading
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn exact_micros() -> u64 {
    monotonic_micros()
}

/// Returns the thread's last reading of the clock if one was made in the current tick of the
/// kernel, and otherwise reads the clock.
///
/// The kernel counts its ticks, of 1 to 10 ms, also while this thread or any other does not run.
/// After a suspension of the machine it counts ticks before processes run. So the returned time is
/// at most a tick old. Reading the count of ticks takes a fourth of the time of a reading.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn recent_micros() -> u64 {
    let tick = from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse));
    if tick == TICK.replace(tick) { READING.get() } else { exact_micros() }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn recent_micros() -> u64 {
    monotonic_micros()
}

/// Reads `CLOCK_MONOTONIC`, which on Apple systems counts sleep, unlike `Instant`.
#[cfg(target_vendor = "apple")]
fn monotonic_micros() -> u64 {
    from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn from_timespec(at: rustix::time::Timespec) -> u64 {
    u64::try_from(at.tv_sec).unwrap_or(0).saturating_mul(1_000_000)
        + u64::try_from(at.tv_nsec).unwrap_or(0) / 1000
}

/// Reads the standard library's monotonic clock, counted from its first use.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
#[expect(clippy::disallowed_methods, reason = "the home of the monotonic clock")]
fn monotonic_micros() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
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
    fn p12_arithmetic_on_timestamps_saturates_and_rounds_up() {
        assert_eq!(Timestamp::from_micros(1 << 53), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_micros(1)), None);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.saturating_sub(Duration::MAX), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.checked_add(Duration::from_nanos(1)), Timestamp::from_micros(1));
    }
}
