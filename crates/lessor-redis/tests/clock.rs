//! The server's clock is authoritative. The tests set it by hand, forward and back.
//!
//! The environment variable `LESSOR_STEPS` sets the number of clock steps that are made while
//! stores work. The default is 40.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::rules::{Command, HolderCommand};
use lessor_core::store::{CasResult, ConditionalWrite};
use lessor_core::{Acquisition, Engine, Error, Lease, Record, State, Store, Timestamp};
use lessor_redis::RedisStore;
use records::{granted, is_there, key, now, put, put_old, written};
use support::clocked::ClockedServer;
use support::dice::{Dice, number_from_env};

#[path = "support/records.rs"]
mod records;
mod support;

const HOUR: i64 = 3_600_000_000;

fn server() -> Option<ClockedServer> {
    if support::is_available() { ClockedServer::start() } else { None }
}

fn open(server: &ClockedServer, prefix: &str) -> RedisStore {
    RedisStore::builder().settings(support::settings(prefix)).open(&server.url()).unwrap()
}

fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}

/// The caller's estimate of the time may be wrong by as much as the clock was set since.
#[test]
fn p7_a_time_window_is_checked_with_the_servers_clock_and_not_the_callers_estimate() {
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    for round in 0..4 {
        let store = open(&server, &prefix);
        let text = format!("key {round}");
        let (grant, lease_id) = granted(now(&store));
        assert!(matches!(put(&store, &text, &grant), Ok(CasResult::Written)));
        let extend = Command::Holder(lease_id, HolderCommand::Extend { ttl: hours(9) });
        let next = written(Some(&grant), &extend, now(&store), hours(1));
        let swap = |not_before, not_after| {
            let change = ConditionalWrite::new(Some(&grant), &next).with_window(not_before, not_after);
            lessor_testkit::swap(&store, &key(&text), &change).wait().unwrap()
        };
        let is_refused = |swap: CasResult| match swap {
            CasResult::Rejected(seen) => assert_eq!(seen.record.as_ref(), Some(&grant)),
            other => panic!("{other:?}"),
        };
        let before = now(&store);
        server.clock.set_off(2 * HOUR);
        is_refused(swap(None, Some(before.saturating_add(hours(1)))));
        // The store has sampled the new time, and continues from it when the clock is set right
        // again.
        let after = now(&store);
        assert!(after >= before.saturating_add(hours(1)));
        server.clock.set_off(0);
        is_refused(swap(Some(after), None));
        // The store's time is an upper bound, so `before` may be ahead of the server's clock.
        let not_before = before.saturating_sub(Duration::from_secs(60));
        assert!(matches!(swap(Some(not_before), Some(after)), CasResult::Written));
    }
}

/// Returns a released record whose retention ends a second later.
fn released(now: Timestamp) -> Record {
    let (record, lease_id) = granted(now);
    written(Some(&record), &Command::Holder(lease_id, HolderCommand::Release), now, Duration::from_secs(1))
}

#[test]
fn p9_no_record_is_purged_early_by_the_servers_clock_when_the_store_is_ahead() {
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    server.clock.set_off(3 * HOUR);
    let ahead = open(&server, &prefix);
    let then = now(&ahead);
    server.clock.set_off(0);
    let store = open(&server, &prefix);
    assert!(then > now(&store).saturating_add(hours(2)));
    put_old(&store, "key", &released(now(&store)));
    assert_eq!(ahead.purge(10).wait().unwrap().dropped, 0);
    assert!(is_there(&store, "key").unwrap());
    server.clock.set_off(HOUR / 2);
    assert_eq!(ahead.purge(10).wait().unwrap().dropped, 1);
    assert!(!is_there(&store, "key").unwrap());
}

/// By its retention alone, the record would be purged after a second. A fresh grant counts only if
/// its token is younger than half of the age that this record's token must reach before the purge.
/// So no caller is granted a lower token.
#[test]
fn p2_a_record_is_purged_once_its_token_is_ten_minutes_old_and_not_before() {
    const MINUTE: i64 = HOUR / 60;
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    let store = open(&server, &prefix);
    let purge = || store.purge(10).wait().unwrap().dropped;
    assert_eq!(purge(), 0);
    put_old(&store, "key", &released(now(&store)));
    for (off, purged) in [(0, 0), (5, 0), (9, 0), (11, 1)] {
        server.clock.set_off(off * MINUTE);
        // The store learns of the record.
        assert!(is_there(&store, "key").unwrap());
        assert_eq!(purge(), purged, "after {off} minutes");
    }
    assert!(!is_there(&store, "key").unwrap());
}

/// This covers records that no process purges. A record that the server expires has been due for a
/// long time, whatever the clocks differ by.
#[test]
fn p9_the_server_expires_a_record_an_hour_after_it_may_be_purged() {
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    let store = open(&server, &prefix);
    let kept_until = || -> u64 {
        let at = server.command(&["PEXPIRETIME", &format!("{prefix}:key")]);
        at.strip_prefix(':').unwrap().parse().unwrap()
    };
    let is_kept_until = |at: Timestamp| {
        assert_eq!(kept_until(), at.saturating_add(hours(1)).as_micros().div_ceil(1_000));
    };
    let at = now(&store);
    let (grant, lease_id) = granted(at);
    assert!(matches!(put(&store, "key", &grant), Ok(CasResult::Written)));
    // Counted from its arrival, plus the five minutes by which the caller's time may be ahead of
    // the server's.
    let least = grant.purge_at().saturating_add(hours(1)).as_micros().div_ceil(1_000);
    assert!((least..=least + 10 * 60_000).contains(&kept_until()), "{} {least}", kept_until());
    let release = Command::Holder(lease_id, HolderCommand::Release);
    let next = written(Some(&grant), &release, at, Duration::from_secs(1));
    let change = ConditionalWrite::new(Some(&grant), &next);
    assert!(matches!(lessor_testkit::swap(&store, &key("key"), &change).wait(), Ok(CasResult::Written)));
    // The token must be ten minutes old as well.
    let token = Timestamp::from_micros(grant.token().as_u64()).unwrap();
    is_kept_until(token.saturating_add(Duration::from_mins(10)));
}

/// The clock is stepped forward and back by up to two hours, with leases of ten minutes. Stores
/// with an old estimate continue beside one that is opened after each step.
#[test]
fn p1_p2_p7_tokens_rise_and_time_never_runs_backwards_while_the_servers_clock_is_stepped() {
    const TTL: Duration = Duration::from_mins(10);
    const HOUR: u64 = 3_600_000_000;
    if !support::is_available() {
        return;
    }
    let Some(server) = ClockedServer::start() else { return };
    let prefix = support::prefix();
    let open = || {
        let builder = RedisStore::builder().settings(support::settings(&prefix));
        Engine::new(Arc::new(builder.open(&server.url()).unwrap())).unwrap()
    };
    let old = [open(), open()];
    let steps = number_from_env("LESSOR_STEPS", 40);
    let mut dice = Dice(1);
    let (mut latest, mut token) = ([Timestamp::EPOCH; 2], 0);
    let mut held: Option<Lease> = None;
    let (mut taken_over, mut refused) = (0, 0);
    for step in 0..steps {
        // A record's times never go back, so after some steps hardly any step ends a lease.
        let name = format!("key {}", step / 8);
        if step % 8 == 0 {
            (held, token) = (None, 0);
        }
        let off = i64::try_from(dice.below(2 * HOUR)).unwrap();
        server.clock.set_off(off);
        let fresh = open();
        // Stores that have seen a later time continue from it, and so do their leases.
        let engine = old.get(usize::try_from(dice.below(8)).unwrap()).unwrap_or(&fresh);
        let is_over = || fresh.status(&name).wait().unwrap().is_none_or(|view| view.state() == State::Lapsed);
        let lease = loop {
            for (engine, latest) in old.iter().zip(&mut latest) {
                let now = engine.now().wait().unwrap();
                assert!(now >= *latest, "step {step}: {now:?} after {latest:?}");
                *latest = now;
            }
            match engine.acquire(&name).ttl(TTL).wait().unwrap() {
                Acquisition::Acquired(lease) => break lease,
                // A store's estimate may be a second old.
                Acquisition::InProgress(_) if is_over() => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Acquisition::InProgress(_) => {
                    refused += 1;
                    let held = held.take().unwrap();
                    let before = fresh.status(&name).wait().unwrap().unwrap();
                    let end = held.extend(TTL).wait().unwrap().expires_at();
                    let after = fresh.status(&name).wait().unwrap().unwrap();
                    assert!(
                        after.ttl_left() >= before.ttl_left().map(|left| left.saturating_sub(TTL)),
                        "{end:?}"
                    );
                    held.release().wait().unwrap();
                }
                other => panic!("step {step}: {other:?}"),
            }
        };
        assert!(lease.token().as_u64() > token, "step {step}: {} after {token}", lease.token());
        token = lease.token().as_u64();
        if let Some(stale) = held.take() {
            taken_over += 1;
            match stale.complete(&"stale").wait() {
                Err(Error::NotHolder { token: newer, .. }) => assert_eq!(newer, lease.token()),
                other => panic!("step {step}: {other:?}"),
            }
        }
        // An end is not before its beginning, whatever the clock shows.
        let key = format!("ends {step}");
        let Acquisition::Acquired(ends) = engine.acquire(&key).wait().unwrap() else { panic!("{key}") };
        server.clock.set_off(off - i64::try_from(HOUR).unwrap());
        ends.complete(&1).wait().unwrap();
        let view = fresh.status(&key).wait().unwrap().unwrap();
        assert!(view.done_at().unwrap() >= view.first_seen_at(), "{view:?}");
        server.clock.set_off(off);
        held = Some(lease);
    }
    println!("{steps} steps of the server's clock: {taken_over} leases ended by one, {refused} did not");
    assert!(taken_over > 0 && refused > 0);
}

/// Regression: the store's clock stood still until the server's had caught up, and a wait of one
/// second took as long.
#[test]
fn p7_a_timeout_fires_after_the_servers_clock_was_set_back() {
    if !support::is_available() {
        return;
    }
    let Some(server) = ClockedServer::start() else { return };
    let prefix = support::prefix();
    let builder = RedisStore::builder().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(builder.open(&server.url()).unwrap())).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire("key").wait().unwrap() else { panic!("it is taken") };
    server.clock.set_off(-2 * 3_600_000_000);
    // The store samples the new time.
    lease.extend(Duration::from_hours(1)).wait().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(engine.wait_for("key", Duration::from_secs(1)).wait().unwrap().unwrap().state());
    });
    assert_eq!(receiver.recv_timeout(Duration::from_mins(1)), Ok(State::InProgress));
}
