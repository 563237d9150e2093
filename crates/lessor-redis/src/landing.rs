//! When a fresh grant arrived at the server, and what that says about it.
//!
//! A single `SET … NX` makes a fresh grant. The command knows nothing of what was purged before, and it may be held up on its way for as long as
//! its sender sleeps. Meanwhile another process may be granted the key with a higher token, finish, and purge the record.
//!
//! So the grant carries a lifetime instead of a time, and the lifetime follows from the record alone. The server adds its own time to
//! it, and from then on the record says when it arrived: at the server's time of expiry, less the lifetime. A record that arrived when its
//! token was older than [`LATEST`] is no grant and never was one: every answer treats it as absent. No record is purged before its token
//! is twice as old, so the token of a record that counts is above every token that was purged before it arrived.
//!
//! Whatever a script writes expires at a certain time. That looks like a grant that arrived early.

use std::time::Duration;

use lessor_core::{Record, Timestamp};

/// No record is purged before its token is this old, even if its retention has ended.
pub(crate) const TOKEN_AGE: Duration = Duration::from_secs(600);
/// A fresh grant that arrives at the server when its token is this old, or older, does not count.
pub(crate) const LATEST: Duration = Duration::from_secs(300);
/// How far the token of a fresh grant may be ahead of the server's clock. Beyond that a script writes the grant.
pub(crate) const AHEAD: Duration = Duration::from_secs(300);
/// How much longer than anybody can miss a record the server keeps it by itself.
pub(crate) const MARGIN: Duration = Duration::from_secs(3600);

/// The time of a record's token. A token is a time, or later than its time.
pub(crate) fn drawn_at(record: &Record) -> Timestamp {
    Timestamp::from_micros(record.token().as_u64()).unwrap_or(Timestamp::MAX)
}

/// From when on nobody misses the record.
pub(crate) fn purge_at(record: &Record) -> Timestamp {
    record.purge_at().max(drawn_at(record).saturating_add(TOKEN_AGE))
}

/// When the server drops a record by itself that a script writes, in ms.
pub(crate) fn expires_ms(record: &Record) -> u64 {
    purge_at(record).saturating_add(MARGIN).as_micros().div_ceil(1_000)
}

/// How long the server keeps a fresh grant by itself, in ms. Purging takes [`MARGIN`] off the time of expiry, and what is left is not before
/// [`purge_at`]: the server's clock is at most [`AHEAD`] behind the token.
pub(crate) fn lifetime_ms(record: &Record) -> u64 {
    let lifetime = purge_at(record).saturating_since(drawn_at(record)) + AHEAD + MARGIN;
    u64::try_from(lifetime.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// Whether the record is a first grant, which a `SET … NX` may have made.
pub(crate) fn is_first(record: &Record) -> bool {
    record.version().as_u64() == 1 && record.attempt() == 1
}

/// Whether a record that has been read at `now`, or before, may be one that arrived too late.
pub(crate) fn may_be_late(record: &Record, now: Timestamp) -> bool {
    is_first(record) && now.saturating_since(drawn_at(record)) >= LATEST
}

/// Whether a record that the server drops at `expires_ms` arrived too late to be a grant. A negative number means that the server does not
/// drop it, which nobody but an operator can have done: then nothing is known, and the record counts.
pub(crate) fn is_late(record: &Record, expires_ms: i64) -> bool {
    let landed = u64::try_from(expires_ms).ok().and_then(|at| at.checked_sub(lifetime_ms(record)));
    let landed = landed.map(|landed| landed.saturating_mul(1_000));
    let latest = drawn_at(record).as_micros().saturating_add(micros(LATEST));
    is_first(record) && landed.is_some_and(|landed| landed >= latest)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use lessor_core::machine::{Acquire, Act, Command, Decision, decide};
    use lessor_core::{LeaseId, OnFailed, OnLapsed};

    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn written(record: Option<&Record>, command: &Command, now: u64, retention: Duration) -> Record {
        match decide(record, command, Timestamp::from_micros(now).unwrap(), retention) {
            Decision::Write(write, _) => write.next,
            other => panic!("{other:?}"),
        }
    }

    fn granted(now: u64, ttl: Duration, retention: Duration) -> (Record, LeaseId) {
        let lease_id = LeaseId::random().unwrap();
        let (on_failed, on_lapsed) = (OnFailed::Replay, OnLapsed::TakeOver);
        let acquire =
            Acquire { lease_id, ttl, holder: None, metadata: None, fingerprint: None, on_failed, on_lapsed };
        (written(None, &Command::Acquire(acquire), now, retention), lease_id)
    }

    /// When the server drops a fresh grant that arrives at this time.
    fn expiry(record: &Record, arrives: u64) -> i64 {
        i64::try_from(arrives / 1_000 + lifetime_ms(record)).unwrap()
    }

    #[test]
    fn p2_a_grant_is_late_from_five_minutes_on_and_not_before() {
        let latest = micros(LATEST);
        for (ttl, retention) in [(1, 0), (300, 604_800), (86_400, 31_536_000)] {
            let (record, _) = granted(NOW, Duration::from_secs(ttl), Duration::from_secs(retention));
            for (arrives, late) in [
                (NOW - micros(AHEAD), false),
                (NOW, false),
                (NOW + latest - 1_000, false),
                (NOW + latest, true),
                (NOW + 2 * latest, true),
            ] {
                assert_eq!(is_late(&record, expiry(&record, arrives)), late, "{ttl} {retention} {arrives}");
            }
        }
    }

    #[test]
    fn p2_only_what_a_single_command_wrote_can_be_late() {
        let (record, lease_id) = granted(NOW, Duration::from_secs(300), Duration::from_secs(60));
        let at = i64::try_from(expires_ms(&record)).unwrap();
        assert!(!is_late(&record, at), "a script wrote it");
        let extend = Command::Act(lease_id, Act::Extend { ttl: Duration::from_secs(600) });
        let extended = written(Some(&record), &extend, NOW + 1, Duration::from_secs(60));
        assert!(!is_late(&extended, i64::MAX));
        // Somebody has told the server to keep it, or it is gone.
        assert!(!is_late(&record, -1) && !is_late(&record, -2) && !is_late(&record, 1));
    }

    /// An early time of expiry would have it purged while it is missed.
    #[test]
    fn p9_a_grant_that_is_ahead_of_the_servers_clock_is_not_purged_early() {
        for retention in [0, 604_800] {
            let (record, _) = granted(NOW, Duration::from_secs(1), Duration::from_secs(retention));
            let purged = expiry(&record, NOW - micros(AHEAD)) - i64::try_from(MARGIN.as_millis()).unwrap();
            assert!(u64::try_from(purged).unwrap() * 1_000 >= purge_at(&record).as_micros());
        }
    }

    #[test]
    fn p12_a_token_at_the_end_of_time_has_a_lifetime() {
        let max = Timestamp::MAX.as_micros();
        let (record, _) = granted(max - 1_000, Duration::from_micros(1_000), Duration::MAX);
        assert!(lifetime_ms(&record) > 0 && expires_ms(&record) > 0);
        assert!(!is_late(&record, i64::MAX) || !may_be_late(&record, Timestamp::MAX));
    }
}
