//! The server's clock, as far as it can be known from here.
//!
//! A reading of it lies between the moment it was asked for and the moment its answer came. So the latest that the server's clock can be
//! is known: what it said, plus the time since it was *asked*. [`ServerClock::now`] is that bound, and so is never behind. The earliest that
//! it can be is what it said, plus the time since it *answered*.

use lessor_core::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;

/// How much faster than this machine's clock the server's may run, at most: one part in so many.
const DRIFT: u64 = 2_000;

#[derive(Debug)]
pub(crate) struct ServerClock {
    local: SystemClock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What the server's clock is ahead of the local one when the last sample was taken, at least and at most.
    ahead: Option<(i64, i64)>,
    sampled: u64,
    /// The latest time that was told.
    told: u64,
    /// How far that was ahead when the server's clock was found to have been set, and when that was.
    lead: u64,
    set: u64,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self { local: SystemClock::new(), known: Mutex::default() }
    }

    /// This machine's time, to say when something was asked.
    pub(crate) fn local(&self) -> u64 {
        self.local.now().as_micros()
    }

    /// The server said `server` in answer to what was sent at `sent`.
    pub(crate) fn sample(&self, sent: u64, server: Timestamp) {
        let mut known = self.known.lock();
        let received = self.local();
        let (earliest, latest) = (ahead_of(server, received), ahead_of(server, sent));
        known.ahead = Some(match known.ahead_at(received) {
            Some((least, most)) if least <= latest && earliest <= most => {
                (least.max(earliest), most.min(latest))
            }
            // What is known is refuted by this sample: the server's clock was set, or it is another server.
            _ => {
                known.lead = known.told.saturating_sub(received.saturating_add_signed(latest));
                known.set = received;
                (earliest, latest)
            }
        });
        known.sampled = received;
    }

    /// Not ahead of the server's clock.
    pub(crate) fn at_least(&self) -> Timestamp {
        let known = self.known.lock();
        let local = self.local();
        let least = known.ahead_at(local).map_or(0, |(least, _)| local.saturating_add_signed(least));
        Timestamp::from_micros(least).unwrap_or(Timestamp::EPOCH)
    }

    /// Not behind the server's clock, and never behind what was told before. If the server's clock was set back, this one goes at half its
    /// speed until the two meet: would it stand still, no timer would fire until then.
    pub(crate) fn now(&self) -> Timestamp {
        let mut known = self.known.lock();
        let local = self.local();
        let most = known.ahead_at(local).map_or(0, |(_, most)| local.saturating_add_signed(most));
        let lead = known.lead.saturating_sub(local.saturating_sub(known.set) / 2);
        known.told = known.told.max(most.saturating_add(lead));
        Timestamp::from_micros(known.told).unwrap_or(Timestamp::MAX)
    }
}

impl Known {
    /// What is known gets less certain with time; rounded up, so that it does however often samples are taken.
    fn ahead_at(&self, local: u64) -> Option<(i64, i64)> {
        let drift = local.saturating_sub(self.sampled).div_ceil(DRIFT);
        let drift = i64::try_from(drift).unwrap_or(i64::MAX);
        self.ahead.map(|(least, most)| (least.saturating_sub(drift), most.saturating_add(drift)))
    }
}

fn ahead_of(server: Timestamp, local: u64) -> i64 {
    let (server, local) = (i64::try_from(server.as_micros()), i64::try_from(local));
    server.unwrap_or(i64::MAX).saturating_sub(local.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    /// It stood still until the server's clock had come to where it had been, and with it all timers of the engines.
    #[test]
    fn p7_when_the_servers_clock_is_set_back_this_one_goes_on_and_never_backwards() {
        let clock = ServerClock::new();
        let sample = |off: u64| {
            let sent = clock.local();
            clock.sample(sent, at(clock.local() - off));
        };
        sample(0);
        let before = clock.now();
        sample(HOUR);
        let after = clock.now();
        assert!(after >= before);
        assert!(clock.at_least() < at(before.as_micros() - HOUR / 2), "the server's own is known");
        let waited = clock.local();
        while clock.now() <= at(after.as_micros() + 500) {
            std::thread::yield_now();
            assert!(clock.local() - waited < 60_000_000, "it stands still");
        }
        // Set right again, it is exact again.
        sample(0);
        let (now, local) = (clock.now().as_micros(), clock.local());
        assert!(now.abs_diff(local) < HOUR / 2, "{now} {local}");
    }
}
