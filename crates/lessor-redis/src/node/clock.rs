//! An estimate of the server's clock.
//!
//! A server reads its clock between the moment at which a request for its time is sent and the
//! moment at which the reply arrives. The latest possible time is therefore the server's reading
//! plus the time since the request was *sent*. [`ServerClock::now`] returns this bound, so it is
//! never behind the server. The earliest possible time is the reading plus the time since the reply
//! was *received*.
//!
//! Each node of a cluster has its own clock. The bounds are those of the clock that is furthest
//! ahead and of the clock that is furthest behind.

use lessor_core::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;

/// The rate by which the server's clock may deviate from this machine's clock: at most one part in
/// 2,000.
const DRIFT: u64 = 2_000;

/// The id of a single server's clock.
pub(crate) const SINGLE_SERVER: u64 = 0;

#[derive(Debug)]
pub(crate) struct ServerClock {
    local: SystemClock,
    estimates: Mutex<Estimates>,
}

#[derive(Debug)]
struct Estimates {
    servers: Vec<(u64, ServerEstimate)>,
    next: u64,
    /// The latest time that was returned.
    last_returned: u64,
    /// The time by which the returned time was ahead when a server's clock was found to have been
    /// set, and this machine's time at that moment; in µs.
    lead: u64,
    lead_since: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct ServerEstimate {
    /// The time by which the server's clock was ahead of the local one at the last sample, at least
    /// and at most; in µs.
    offset: Option<(i64, i64)>,
    sampled_at: u64,
    /// The latest time at which a request was sent whose reply has been sampled, in µs.
    latest_sent: u64,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        let servers = vec![(SINGLE_SERVER, ServerEstimate::default())];
        let estimates =
            Estimates { servers, next: SINGLE_SERVER + 1, last_returned: 0, lead: 0, lead_since: 0 };
        Self { local: SystemClock::new(), estimates: Mutex::new(estimates) }
    }

    /// Returns this machine's time, in µs.
    pub(crate) fn local(&self) -> u64 {
        self.local.now().as_micros()
    }

    /// Adds the clock of another server. Returns its id.
    pub(crate) fn add(&self) -> u64 {
        let mut estimates = self.estimates.lock();
        let id = estimates.next;
        estimates.next += 1;
        estimates.servers.push((id, ServerEstimate::default()));
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut estimates = self.estimates.lock();
        estimates.servers.retain(|(server_id, _)| *server_id != id);
        estimates.reset_lead(self.local());
    }

    /// Takes a sample: a server replied with `server_time` to a request that was sent at `sent`, in
    /// µs of this machine's time.
    pub(crate) fn sample(&self, id: u64, sent: u64, server_time: Timestamp) {
        let mut estimates = self.estimates.lock();
        let received = self.local();
        estimates.sample(id, sent, server_time, received);
    }

    /// Takes a lower bound of a server's time.
    pub(crate) fn observe(&self, server_time: Timestamp) {
        let mut estimates = self.estimates.lock();
        estimates.last_returned = estimates.last_returned.max(server_time.as_micros());
    }

    /// Returns a time that is not ahead of any server's clock.
    pub(crate) fn earliest(&self) -> Timestamp {
        let estimates = self.estimates.lock();
        let local = self.local();
        let all = estimates.servers.iter().filter_map(|(_, server)| server.offset_at(local));
        let least = all.map(|(least, _)| local.saturating_add_signed(least)).min();
        Timestamp::from_micros(least.unwrap_or(0)).unwrap_or(Timestamp::EPOCH)
    }

    /// Returns a time that is not behind any server's clock, nor behind any time returned before.
    /// If a server's clock was set back, this clock runs at half speed until the two agree. If it
    /// stood still instead, no timer would fire until then.
    pub(crate) fn now(&self) -> Timestamp {
        let mut estimates = self.estimates.lock();
        let local = self.local();
        estimates.now(local)
    }

    /// Returns a time that is not behind the clock of one server.
    pub(crate) fn latest_for(&self, id: u64) -> Timestamp {
        let mut estimates = self.estimates.lock();
        let local = self.local();
        let server = estimates.servers.iter().find(|(server_id, _)| *server_id == id);
        let most =
            server.and_then(|(_, server)| Some(local.saturating_add_signed(server.offset_at(local)?.1)));
        match most.and_then(Timestamp::from_micros) {
            Some(most) => most.min(estimates.now(local)),
            None => estimates.now(local),
        }
    }
}

impl Estimates {
    fn sample(&mut self, id: u64, sent: u64, server_time: Timestamp, received: u64) {
        let Some((_, server)) = self.servers.iter_mut().find(|(server_id, _)| *server_id == id) else {
            return;
        };
        let (earliest, latest) = (offset_of(server_time, received), offset_of(server_time, sent));
        // The server's clock may have run faster since the request was sent.
        let latest = latest.saturating_add(drift(received.saturating_sub(sent)));
        let was_set = match server.offset_at(received) {
            Some((least, most)) if least <= latest && earliest <= most => {
                server.offset = Some((least.max(earliest), most.min(latest)));
                false
            }
            // Replies arrive in order, but callers may sample them late. So the stored estimate is
            // newer.
            Some(_) if sent < server.latest_sent => return,
            // The sample contradicts the estimate: the server's clock was set, or the server was
            // replaced.
            _ => {
                server.offset = Some((earliest, latest));
                true
            }
        };
        server.sampled_at = received;
        server.latest_sent = server.latest_sent.max(sent);
        if was_set {
            self.reset_lead(received);
        }
    }

    /// Returns the latest possible time of any server's clock.
    fn latest(&self, local: u64) -> u64 {
        let all = self.servers.iter().filter_map(|(_, server)| server.offset_at(local));
        all.map(|(_, most)| local.saturating_add_signed(most)).max().unwrap_or(local)
    }

    fn reset_lead(&mut self, local: u64) {
        self.lead = self.last_returned.saturating_sub(self.latest(local));
        self.lead_since = local;
    }

    fn now(&mut self, local: u64) -> Timestamp {
        let lead = self.lead.saturating_sub(local.saturating_sub(self.lead_since) / 2);
        self.last_returned = self.last_returned.max(self.latest(local).saturating_add(lead));
        Timestamp::from_micros(self.last_returned).unwrap_or(Timestamp::MAX)
    }
}

impl ServerEstimate {
    /// Returns the offset, which becomes less certain with time. The drift is rounded up, so that
    /// it grows however often samples are taken.
    fn offset_at(&self, local: u64) -> Option<(i64, i64)> {
        let drift = drift(local.saturating_sub(self.sampled_at));
        self.offset.map(|(least, most)| (least.saturating_sub(drift), most.saturating_add(drift)))
    }
}

/// Returns the possible drift, in µs.
fn drift(passed: u64) -> i64 {
    i64::try_from(passed.div_ceil(DRIFT)).unwrap_or(i64::MAX)
}

fn offset_of(server: Timestamp, local: u64) -> i64 {
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

    /// Returns the estimates after these samples: the server's id, the time of the request, the
    /// server's reading, and the time of the reply.
    fn estimates(servers: u64, samples: &[(u64, u64, u64, u64)]) -> Estimates {
        let clock = ServerClock::new();
        for _ in 1..servers {
            clock.add();
        }
        let mut estimates = clock.estimates.into_inner();
        for &(id, sent, server_time, received) in samples {
            estimates.sample(id, sent, at(server_time), received);
        }
        estimates
    }

    #[test]
    fn p7_now_is_not_behind_the_server_when_its_reply_is_delayed() {
        let mut clock = estimates(1, &[(SINGLE_SERVER, 100 * SECOND, 500 * SECOND, 103 * SECOND)]);
        assert!(clock.now(103 * SECOND) >= at(503 * SECOND));
    }

    #[test]
    fn p7_a_faster_reply_makes_now_more_exact() {
        let samples = [
            (SINGLE_SERVER, 100 * SECOND, 500 * SECOND, 103 * SECOND),
            (SINGLE_SERVER, 104 * SECOND, 502 * SECOND, 104 * SECOND),
        ];
        assert!(estimates(1, &samples).now(105 * SECOND) < at(504 * SECOND));
    }

    #[test]
    fn p7_now_never_runs_backwards_when_the_estimate_does() {
        let mut clock = estimates(1, &[(SINGLE_SERVER, 100 * SECOND, 500 * SECOND, 103 * SECOND)]);
        let before = clock.now(104 * SECOND);
        clock.sample(SINGLE_SERVER, 104 * SECOND, at(502 * SECOND), 104 * SECOND);
        assert!(clock.now(104 * SECOND) >= before);
    }

    /// Regression: each sample aged the estimate by the whole part of the drift since the sample
    /// before. With frequent samples, the estimate never aged.
    #[test]
    fn p7_now_is_not_behind_a_fast_server_however_often_it_is_sampled() {
        let mut clock = estimates(1, &[(SINGLE_SERVER, 100 * SECOND, 500 * SECOND, 100 * SECOND)]);
        // The server runs faster by one part in ten thousand. Each reply takes 10 ms, all of it on
        // the way back.
        for step in 1..20_000 {
            let sent = 100 * SECOND + step * 1_000;
            let server = 500 * SECOND + step * 1_000 + step / 10;
            clock.sample(SINGLE_SERVER, sent, at(server), sent + 10_000);
            let now = clock.now(sent + 10_000);
            assert!(now >= at(server + 10_000 + 1), "{now:?} after {step} steps");
        }
    }

    /// Regression: any node of a cluster was asked for the time, and a node that was behind moved
    /// the bound back for all nodes.
    #[test]
    fn p7_now_is_not_behind_the_node_that_is_furthest_ahead() {
        let samples = [
            (0, 100 * SECOND, 500 * SECOND, 100 * SECOND),
            (1, 100 * SECOND, 800 * SECOND, 100 * SECOND),
            (2, 101 * SECOND, 200 * SECOND, 101 * SECOND),
            (0, 102 * SECOND, 502 * SECOND, 102 * SECOND),
        ];
        let mut clock = estimates(3, &samples);
        assert!(clock.now(110 * SECOND) >= at(810 * SECOND));
        clock.servers.retain(|(id, _)| *id != 1);
        clock.reset_lead(110 * SECOND);
        assert!(clock.now(110 * SECOND) >= at(810 * SECOND), "it ran backwards");
    }

    #[test]
    fn p7_now_follows_a_server_whose_clock_was_set_forward() {
        let samples =
            [(0, 100 * SECOND, 500 * SECOND, 100 * SECOND), (0, 101 * SECOND, 900 * SECOND, 101 * SECOND)];
        assert!(estimates(1, &samples).now(102 * SECOND) >= at(901 * SECOND));
    }

    /// Regression: the reply to an earlier request was sampled after the reply to a later one, and
    /// undid the step that the later one had shown.
    #[test]
    fn p7_now_follows_the_latest_request_and_not_the_latest_reply() {
        let samples = [
            (0, 100 * SECOND, 500 * SECOND, 100 * SECOND),
            (0, 102 * SECOND, 902 * SECOND, 102 * SECOND),
            (0, 101 * SECOND, 501 * SECOND, 103 * SECOND),
        ];
        assert!(estimates(1, &samples).now(103 * SECOND) >= at(903 * SECOND));
    }

    /// Regression: the clock stood still until the server's clock had caught up, and all timers of
    /// the engines with it.
    #[test]
    fn p7_now_keeps_rising_when_the_servers_clock_is_set_back() {
        let clock = ServerClock::new();
        let sample = |off: u64| {
            let sent = clock.local();
            clock.sample(SINGLE_SERVER, sent, at(clock.local() - off));
        };
        sample(0);
        let before = clock.now();
        sample(HOUR);
        let after = clock.now();
        assert!(after >= before);
        assert!(clock.earliest() < at(before.as_micros() - HOUR / 2), "the server's own time is known");
        let waited = clock.local();
        while clock.now() <= at(after.as_micros() + 500) {
            std::thread::yield_now();
            assert!(clock.local() - waited < 60_000_000, "it stands still");
        }
        // Once the server's clock is set right, the estimate is exact again.
        sample(0);
        let (now, local) = (clock.now().as_micros(), clock.local());
        assert!(now.abs_diff(local) < HOUR / 2, "{now} {local}");
    }
}
