//! The server's clock, as far as it can be known from here.
//!
//! A reading of it lies between the moment it was asked for and the moment its answer came. So the latest that the server's clock can be
//! is known: what it said, plus the time since it was *asked*. [`ServerClock::now`] is that bound, and so is never behind. The earliest that
//! it can be is what it said, plus the time since it *answered*.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use lessor_core::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;

/// How much faster than this machine's clock the server's may run, at most: one part in so many.
const DRIFT: u64 = 2_000;

#[derive(Debug)]
pub(crate) struct ServerClock {
    local: SystemClock,
    /// What the server's clock is ahead of the local one, at most, when the last sample was taken.
    ahead: AtomicI64,
    /// The same at least.
    ahead_at_least: AtomicI64,
    sampled: AtomicU64,
    /// The latest time that was told.
    told: AtomicU64,
    sampling: Mutex<()>,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self {
            local: SystemClock::new(),
            ahead: AtomicI64::new(i64::MIN),
            ahead_at_least: AtomicI64::new(i64::MIN),
            sampled: AtomicU64::new(0),
            told: AtomicU64::new(0),
            sampling: Mutex::new(()),
        }
    }

    /// This machine's time, to say when something was asked.
    pub(crate) fn local(&self) -> u64 {
        self.local.now().as_micros()
    }

    /// The server said `server` in answer to what was sent at `sent`.
    pub(crate) fn sample(&self, sent: u64, server: Timestamp) {
        let received = self.local();
        let (latest, earliest) = (ahead_of(server, sent), ahead_of(server, received));
        let _sampling = self.sampling.lock();
        let known = self.ahead.load(Ordering::Relaxed);
        let drift = i64::try_from(received.saturating_sub(self.sampled.load(Ordering::Relaxed)) / DRIFT);
        let drift = drift.unwrap_or(i64::MAX);
        let most = known.saturating_add(drift);
        let least = self.ahead_at_least.load(Ordering::Relaxed).saturating_sub(drift);
        // What is known is refuted by this sample: the server's clock was set, or it is another server.
        let is_refuted = known == i64::MIN || most < earliest || latest < least;
        self.ahead.store(if is_refuted { latest } else { latest.min(most) }, Ordering::Relaxed);
        let at_least = if is_refuted { earliest } else { earliest.max(least) };
        self.ahead_at_least.store(at_least, Ordering::Relaxed);
        // Whoever sees this sees the lines above as well.
        self.sampled.store(received, Ordering::Release);
    }

    /// Not ahead of the server's clock.
    pub(crate) fn at_least(&self) -> Timestamp {
        let local = self.local();
        let drift = local.saturating_sub(self.sampled.load(Ordering::Acquire)) / DRIFT;
        let ahead = self.ahead_at_least.load(Ordering::Relaxed);
        Timestamp::from_micros(local.saturating_sub(drift).saturating_add_signed(ahead))
            .unwrap_or(Timestamp::EPOCH)
    }

    /// Not behind the server's clock, and never behind what was told before.
    pub(crate) fn now(&self) -> Timestamp {
        let local = self.local();
        let drift = local.saturating_sub(self.sampled.load(Ordering::Acquire)) / DRIFT;
        let now = local.saturating_add(drift).saturating_add_signed(self.ahead.load(Ordering::Relaxed));
        let told = self.told.fetch_max(now, Ordering::Relaxed).max(now);
        Timestamp::from_micros(told).unwrap_or(Timestamp::MAX)
    }
}

fn ahead_of(server: Timestamp, local: u64) -> i64 {
    let (server, local) = (i64::try_from(server.as_micros()), i64::try_from(local));
    server.unwrap_or(i64::MAX).saturating_sub(local.unwrap_or(i64::MAX))
}
