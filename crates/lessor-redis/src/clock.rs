//! The server's clock, as far as it can be known from here.
//!
//! A reading of it lies between the moment it was asked for and the moment its answer came. So the latest that the server's clock can be
//! is known: what it said, plus the time since it was *asked*. [`ServerClock::now`] is that bound, and so is never behind. The earliest that
//! it can be is what it said, plus the time since it *answered*.
//!
//! The nodes of a cluster have a clock each. The bounds are those of the ones that are furthest ahead and furthest behind.

use lessor_core::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;

/// How much faster than this machine's clock the server's may run, at most: one part in so many.
const DRIFT: u64 = 2_000;

/// The server, if there is no more than one.
pub(crate) const ONLY: u64 = 0;

#[derive(Debug)]
pub(crate) struct ServerClock {
    local: SystemClock,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    servers: Vec<(u64, Server)>,
    next: u64,
    /// The latest time that was told.
    told: u64,
    /// How far that was ahead when a server's clock was found to have been set, and when that was.
    lead: u64,
    set: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Server {
    /// What the server's clock is ahead of the local one when the last sample was taken, at least and at most.
    ahead: Option<(i64, i64)>,
    sampled: u64,
    /// When the latest question was asked of those that were answered.
    asked: u64,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        let servers = vec![(ONLY, Server::default())];
        let known = Known { servers, next: ONLY + 1, told: 0, lead: 0, set: 0 };
        Self { local: SystemClock::new(), known: Mutex::new(known) }
    }

    /// This machine's time, to say when something was asked.
    pub(crate) fn local(&self) -> u64 {
        self.local.now().as_micros()
    }

    /// There is one server more.
    pub(crate) fn add(&self) -> u64 {
        let mut known = self.known.lock();
        let id = known.next;
        known.next += 1;
        known.servers.push((id, Server::default()));
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut known = self.known.lock();
        known.servers.retain(|(there, _)| *there != id);
        known.settle(self.local());
    }

    /// A server said `said` in answer to what was sent at `sent`.
    pub(crate) fn sample(&self, id: u64, sent: u64, said: Timestamp) {
        let mut known = self.known.lock();
        let received = self.local();
        known.sample(id, sent, said, received);
    }

    /// Some server said so.
    pub(crate) fn saw(&self, said: Timestamp) {
        let mut known = self.known.lock();
        known.told = known.told.max(said.as_micros());
    }

    /// Not ahead of any server's clock.
    pub(crate) fn at_least(&self) -> Timestamp {
        let known = self.known.lock();
        let local = self.local();
        let all = known.servers.iter().filter_map(|(_, server)| server.ahead_at(local));
        let least = all.map(|(least, _)| local.saturating_add_signed(least)).min();
        Timestamp::from_micros(least.unwrap_or(0)).unwrap_or(Timestamp::EPOCH)
    }

    /// Not behind any server's clock, and never behind what was told before. If a server's clock was set back, this one goes at half its
    /// speed until the two meet: would it stand still, no timer would fire until then.
    pub(crate) fn now(&self) -> Timestamp {
        let mut known = self.known.lock();
        let local = self.local();
        known.now(local)
    }

    /// Not behind the clock of one server.
    pub(crate) fn now_of(&self, id: u64) -> Timestamp {
        let mut known = self.known.lock();
        let local = self.local();
        let server = known.servers.iter().find(|(there, _)| *there == id);
        let most =
            server.and_then(|(_, server)| Some(local.saturating_add_signed(server.ahead_at(local)?.1)));
        match most.and_then(Timestamp::from_micros) {
            Some(most) => most.min(known.now(local)),
            None => known.now(local),
        }
    }
}

impl Known {
    fn sample(&mut self, id: u64, sent: u64, said: Timestamp, received: u64) {
        let Some((_, server)) = self.servers.iter_mut().find(|(there, _)| *there == id) else { return };
        let (earliest, latest) = (ahead_of(said, received), ahead_of(said, sent));
        // It may have gone faster since it was asked.
        let latest = latest.saturating_add(drift(received.saturating_sub(sent)));
        let is_set = match server.ahead_at(received) {
            Some((least, most)) if least <= latest && earliest <= most => {
                server.ahead = Some((least.max(earliest), most.min(latest)));
                false
            }
            // Answers come in order, but whoever waits for them may be late. So what is known is newer.
            Some(_) if sent < server.asked => return,
            // What is known is refuted by this sample: the server's clock was set, or it is another server.
            _ => {
                server.ahead = Some((earliest, latest));
                true
            }
        };
        server.sampled = received;
        server.asked = server.asked.max(sent);
        if is_set {
            self.settle(received);
        }
    }

    /// The latest that any server's clock can be.
    fn most(&self, local: u64) -> u64 {
        let all = self.servers.iter().filter_map(|(_, server)| server.ahead_at(local));
        all.map(|(_, most)| local.saturating_add_signed(most)).max().unwrap_or(local)
    }

    fn settle(&mut self, local: u64) {
        self.lead = self.told.saturating_sub(self.most(local));
        self.set = local;
    }

    fn now(&mut self, local: u64) -> Timestamp {
        let lead = self.lead.saturating_sub(local.saturating_sub(self.set) / 2);
        self.told = self.told.max(self.most(local).saturating_add(lead));
        Timestamp::from_micros(self.told).unwrap_or(Timestamp::MAX)
    }
}

impl Server {
    /// What is known gets less certain with time. The drift is rounded up, so that it does however often samples are taken.
    fn ahead_at(&self, local: u64) -> Option<(i64, i64)> {
        let drift = drift(local.saturating_sub(self.sampled));
        self.ahead.map(|(least, most)| (least.saturating_sub(drift), most.saturating_add(drift)))
    }
}

/// In so many µs.
fn drift(passed: u64) -> i64 {
    i64::try_from(passed.div_ceil(DRIFT)).unwrap_or(i64::MAX)
}

fn ahead_of(server: Timestamp, local: u64) -> i64 {
    let (server, local) = (i64::try_from(server.as_micros()), i64::try_from(local));
    server.unwrap_or(i64::MAX).saturating_sub(local.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const SECOND: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * SECOND;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    /// What is known after samples: whose, when it was asked, what the answer was, and when that came.
    fn known(servers: u64, samples: &[(u64, u64, u64, u64)]) -> Known {
        let clock = ServerClock::new();
        for _ in 1..servers {
            clock.add();
        }
        let mut known = clock.known.into_inner();
        for &(id, sent, said, received) in samples {
            known.sample(id, sent, at(said), received);
        }
        known
    }

    #[test]
    fn p7_now_is_not_behind_a_server_that_answered_at_once_and_whose_answer_took_long() {
        let mut clock = known(1, &[(ONLY, 100 * SECOND, 500 * SECOND, 103 * SECOND)]);
        assert!(clock.now(103 * SECOND) >= at(503 * SECOND));
    }

    #[test]
    fn p7_now_comes_closer_with_an_answer_that_came_faster() {
        let samples = [
            (ONLY, 100 * SECOND, 500 * SECOND, 103 * SECOND),
            (ONLY, 104 * SECOND, 502 * SECOND, 104 * SECOND),
        ];
        assert!(known(1, &samples).now(105 * SECOND) < at(504 * SECOND));
    }

    #[test]
    fn p7_now_never_runs_backwards_when_the_estimate_does() {
        let mut clock = known(1, &[(ONLY, 100 * SECOND, 500 * SECOND, 103 * SECOND)]);
        let before = clock.now(104 * SECOND);
        clock.sample(ONLY, 104 * SECOND, at(502 * SECOND), 104 * SECOND);
        assert!(clock.now(104 * SECOND) >= before);
    }

    /// The story: what was known was aged by the whole part of what the drift came to since the sample before, so with many samples it
    /// never aged.
    #[test]
    fn p7_now_is_not_behind_a_server_that_runs_faster_however_often_it_is_asked() {
        let mut clock = known(1, &[(ONLY, 100 * SECOND, 500 * SECOND, 100 * SECOND)]);
        // One part in ten thousand faster, and no answer is faster than 10 ms, all of it on the way back.
        for step in 1..20_000 {
            let sent = 100 * SECOND + step * 1_000;
            let server = 500 * SECOND + step * 1_000 + step / 10;
            clock.sample(ONLY, sent, at(server), sent + 10_000);
            let now = clock.now(sent + 10_000);
            assert!(now >= at(server + 10_000 + 1), "{now:?} after {step} steps");
        }
    }

    /// The story: the time was asked of any node of a cluster, and an answer of one that was behind took the bound back for all.
    #[test]
    fn p7_now_is_not_behind_the_node_that_is_furthest_ahead() {
        let samples = [
            (0, 100 * SECOND, 500 * SECOND, 100 * SECOND),
            (1, 100 * SECOND, 800 * SECOND, 100 * SECOND),
            (2, 101 * SECOND, 200 * SECOND, 101 * SECOND),
            (0, 102 * SECOND, 502 * SECOND, 102 * SECOND),
        ];
        let mut clock = known(3, &samples);
        assert!(clock.now(110 * SECOND) >= at(810 * SECOND));
        clock.servers.retain(|(id, _)| *id != 1);
        clock.settle(110 * SECOND);
        assert!(clock.now(110 * SECOND) >= at(810 * SECOND), "it ran backwards");
    }

    #[test]
    fn p7_now_follows_a_server_whose_clock_was_set_forward() {
        let samples =
            [(0, 100 * SECOND, 500 * SECOND, 100 * SECOND), (0, 101 * SECOND, 900 * SECOND, 101 * SECOND)];
        assert!(known(1, &samples).now(102 * SECOND) >= at(901 * SECOND));
    }

    /// The story: the answer to an earlier question was looked at after that to a later one, and took the step back that the later one had shown.
    #[test]
    fn p7_now_follows_the_latest_question_and_not_the_latest_answer() {
        let samples = [
            (0, 100 * SECOND, 500 * SECOND, 100 * SECOND),
            (0, 102 * SECOND, 902 * SECOND, 102 * SECOND),
            (0, 101 * SECOND, 501 * SECOND, 103 * SECOND),
        ];
        assert!(known(1, &samples).now(103 * SECOND) >= at(903 * SECOND));
    }

    /// It stood still until the server's clock had come to where it had been, and with it all timers of the engines.
    #[test]
    fn p7_when_the_servers_clock_is_set_back_this_one_goes_on_and_never_backwards() {
        let clock = ServerClock::new();
        let sample = |off: u64| {
            let sent = clock.local();
            clock.sample(ONLY, sent, at(clock.local() - off));
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
