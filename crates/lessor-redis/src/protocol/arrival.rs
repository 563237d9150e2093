//! The arrival time of a fresh grant, derived from the record's expiry time.
//!
//! A fresh grant is a single `SET … NX`. The command does not know which records were purged before
//! it, and it may be delayed for as long as its sender is suspended. Meanwhile another process may
//! be granted the key with a higher token, finish, and have its record purged. The delayed grant
//! would then follow with a lower token.
//!
//! Therefore the grant carries a lifetime (`PX`) that follows from the record alone. The server
//! adds its own time to the lifetime, so the arrival time can be computed later: it is the expiry
//! time minus the lifetime. A record whose token was [`MAX_ARRIVAL_DELAY`] old or older on arrival
//! is not a grant, and every reader treats it as absent. Records are purged only when their token
//! is twice as old. So the token of each record that counts is above every token that was purged
//! before the record arrived.
//!
//! A record written by a script expires at an absolute time (`PXAT`), which looks like an early
//! arrival.

use std::time::Duration;

use lessor_core::{Record, Timestamp};

/// The age of a record's token before which the record is not purged, even if its retention has
/// ended.
pub(crate) const MIN_PURGE_AGE: Duration = Duration::from_secs(600);
/// The age of a fresh grant's token from which on the grant no longer counts when it arrives.
pub(crate) const MAX_ARRIVAL_DELAY: Duration = Duration::from_secs(300);
/// The time by which the token of a fresh grant may be ahead of the server's clock. A grant that is
/// further ahead is written by a script.
pub(crate) const MAX_TOKEN_LEAD: Duration = Duration::from_secs(300);
/// The time for which the server keeps a record after it may be purged.
pub(crate) const EXPIRY_MARGIN: Duration = Duration::from_secs(3600);

/// Returns the time of a record's token. A token is the time of its grant, or a later time.
pub(crate) fn token_time(record: &Record) -> Timestamp {
    Timestamp::from_micros(record.token().as_u64()).unwrap_or(Timestamp::MAX)
}

/// Returns the time from which on the record may be purged.
pub(crate) fn purge_at(record: &Record) -> Timestamp {
    record.purge_at().max(token_time(record).saturating_add(MIN_PURGE_AGE))
}

/// Returns the expiry time of a record that a script writes, in ms since the Unix epoch.
pub(crate) fn expires_ms(record: &Record) -> u64 {
    purge_at(record).saturating_add(EXPIRY_MARGIN).as_micros().div_ceil(1_000)
}

/// Returns the lifetime of a fresh grant, in ms. The expiry time minus [`EXPIRY_MARGIN`] is not
/// before [`purge_at`], because the server's clock is at most [`MAX_TOKEN_LEAD`] behind the token.
pub(crate) fn lifetime_ms(record: &Record) -> u64 {
    let lifetime = purge_at(record).saturating_since(token_time(record)) + MAX_TOKEN_LEAD + EXPIRY_MARGIN;
    u64::try_from(lifetime.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// Returns whether the record is a first grant, which a `SET … NX` may have written.
pub(crate) fn is_first_grant(record: &Record) -> bool {
    record.version().as_u64() == 1 && record.attempt() == 1
}

/// Returns whether a record that was read at `now` or before may have arrived too late.
pub(crate) fn may_have_arrived_late(record: &Record, now: Timestamp) -> bool {
    is_first_grant(record) && now.saturating_since(token_time(record)) >= MAX_ARRIVAL_DELAY
}

/// Returns whether a record with this expiry time, in ms since the Unix epoch, arrived too late to
/// be a grant. A negative time means that the record never expires. Only an operator can have
/// removed the expiry, so nothing is known, and the record counts.
pub(crate) fn arrived_late(record: &Record, expires_ms: i64) -> bool {
    let arrived = u64::try_from(expires_ms).ok().and_then(|at| at.checked_sub(lifetime_ms(record)));
    let arrived = arrived.map(|arrived| arrived.saturating_mul(1_000));
    let latest = token_time(record).as_micros().saturating_add(micros(MAX_ARRIVAL_DELAY));
    is_first_grant(record) && arrived.is_some_and(|arrived| arrived >= latest)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use lessor_core::LeaseId;
    use lessor_core::rules::{Acquire, Command, Decision, HolderCommand, decide};

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
        let acquire = Acquire::new(lease_id, ttl);
        (written(None, &Command::Acquire(acquire), now, retention), lease_id)
    }

    /// Returns the expiry time of a fresh grant that arrives at this time.
    fn expiry(record: &Record, arrives: u64) -> i64 {
        i64::try_from(arrives / 1_000 + lifetime_ms(record)).unwrap()
    }

    #[test]
    fn p2_a_grant_is_late_from_five_minutes_on_and_not_before() {
        let latest = micros(MAX_ARRIVAL_DELAY);
        for (ttl, retention) in [(1, 0), (300, 604_800), (86_400, 31_536_000)] {
            let (record, _) = granted(NOW, Duration::from_secs(ttl), Duration::from_secs(retention));
            for (arrives, late) in [
                (NOW - micros(MAX_TOKEN_LEAD), false),
                (NOW, false),
                (NOW + latest - 1_000, false),
                (NOW + latest, true),
                (NOW + 2 * latest, true),
            ] {
                assert_eq!(
                    arrived_late(&record, expiry(&record, arrives)),
                    late,
                    "{ttl} {retention} {arrives}"
                );
            }
        }
    }

    #[test]
    fn p2_only_a_grant_written_by_set_can_be_late() {
        let (record, lease_id) = granted(NOW, Duration::from_secs(300), Duration::from_secs(60));
        let at = i64::try_from(expires_ms(&record)).unwrap();
        assert!(!arrived_late(&record, at), "a script wrote it");
        let extend = Command::Holder(lease_id, HolderCommand::Extend { ttl: Duration::from_secs(600) });
        let extended = written(Some(&record), &extend, NOW + 1, Duration::from_secs(60));
        assert!(!arrived_late(&extended, i64::MAX));
        // An operator has removed the expiry, the record is gone, or the expiry was changed.
        assert!(!arrived_late(&record, -1) && !arrived_late(&record, -2) && !arrived_late(&record, 1));
    }

    /// With an early expiry time, the record would be purged during its retention.
    #[test]
    fn p9_a_grant_ahead_of_the_servers_clock_is_not_purged_early() {
        for retention in [0, 604_800] {
            let (record, _) = granted(NOW, Duration::from_secs(1), Duration::from_secs(retention));
            let purged = expiry(&record, NOW - micros(MAX_TOKEN_LEAD))
                - i64::try_from(EXPIRY_MARGIN.as_millis()).unwrap();
            assert!(u64::try_from(purged).unwrap() * 1_000 >= purge_at(&record).as_micros());
        }
    }

    #[test]
    fn p12_the_latest_possible_token_has_a_lifetime() {
        let max = Timestamp::MAX.as_micros();
        let (record, _) = granted(max - 1_000, Duration::from_micros(1_000), Duration::MAX);
        assert!(lifetime_ms(&record) > 0 && expires_ms(&record) > 0);
        assert!(!arrived_late(&record, i64::MAX) || !may_have_arrived_late(&record, Timestamp::MAX));
    }
}
