//! The clock that counts is the server's. A test sets it by hand, forward and back.
//!
//! The environment's `LESSOR_STEPS` says how many steps of a clock are made while stores are at work, by default 40.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::machine::{Act, Command};
use lessor_core::store::{Change, Swap};
use lessor_core::{Acquisition, Engine, Error, Lease, Record, State, Store, Timestamp};
use lessor_redis::RedisStore;
use records::{granted, is_there, key, now, put, put_old, written};
use support::dice::{Dice, number_from_env};
use support::faked::FakedServer;

#[path = "support/records.rs"]
mod records;
mod support;

const HOUR: i64 = 3_600_000_000;

fn server() -> Option<FakedServer> {
    if support::is_there() { FakedServer::start() } else { None }
}

fn open(server: &FakedServer, prefix: &str) -> RedisStore {
    lessor_redis::Opener::new().settings(support::settings(prefix)).open(&server.url()).unwrap()
}

fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}

/// What the caller knows of the time may be wrong by as much as the clock was set since.
#[test]
fn p7_a_window_is_judged_by_the_servers_clock_and_not_by_what_its_caller_knows_of_it() {
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    for round in 0..4 {
        let store = open(&server, &prefix);
        let text = format!("key {round}");
        let (grant, lease_id) = granted(now(&store));
        assert!(matches!(put(&store, &text, &grant), Ok(Swap::Stored)));
        let extend = Command::Act(lease_id, Act::Extend { ttl: hours(9) });
        let next = written(Some(&grant), &extend, now(&store), hours(1));
        let swap = |not_before, not_after| {
            let change =
                Change { expected: Some(&grant), next: &next, not_before, not_after, is_outcome: false };
            lessor_testkit::swap(&*store, &key(&text), &change).wait().unwrap()
        };
        let is_refused = |swap: Swap| match swap {
            Swap::OutOfWindow(seen) => assert_eq!(seen.record.as_ref(), Some(&grant)),
            other => panic!("{other:?}"),
        };
        let before = now(&store);
        server.clock.set_off(2 * HOUR);
        is_refused(swap(None, Some(before.saturating_add(hours(1)))));
        // The store knows of it now, and goes on from there when the clock is set right again.
        let after = now(&store);
        assert!(after >= before.saturating_add(hours(1)));
        server.clock.set_off(0);
        is_refused(swap(Some(after), None));
        assert!(matches!(swap(Some(before), Some(after)), Swap::Stored));
    }
}

/// Handed back, and its retention is over a second later.
fn released(now: Timestamp) -> Record {
    let (record, lease_id) = granted(now);
    written(Some(&record), &Command::Act(lease_id, Act::Release), now, Duration::from_secs(1))
}

#[test]
fn p9_no_record_is_purged_before_its_time_by_the_servers_clock_though_the_store_is_ahead() {
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

/// Retention alone would have it gone after a second. A fresh grant counts only if its token is younger than half of what this one has to
/// be before it goes, so nobody is granted a lower one.
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
        // The store is told so.
        assert!(is_there(&store, "key").unwrap());
        assert_eq!(purge(), purged, "after {off} minutes");
    }
    assert!(!is_there(&store, "key").unwrap());
}

/// In case that nobody purges. What the server drops by itself is over since long, whatever clocks differ by.
#[test]
fn p9_the_server_keeps_a_record_by_itself_an_hour_longer_than_anybody_can_miss_it() {
    let Some(server) = server() else { return };
    let prefix = support::prefix();
    let store = open(&server, &prefix);
    let kept_until = || -> u64 {
        let at = server.say(&["PEXPIRETIME", &format!("{prefix}:key")]);
        at.strip_prefix(':').unwrap().parse().unwrap()
    };
    let is_kept_until = |at: Timestamp| {
        assert_eq!(kept_until(), at.saturating_add(hours(1)).as_micros().div_ceil(1_000));
    };
    let at = now(&store);
    let (grant, lease_id) = granted(at);
    assert!(matches!(put(&store, "key", &grant), Ok(Swap::Stored)));
    // Counted from its arrival, and five minutes more, by which the caller's time may be ahead of the server's.
    let least = grant.purge_at().saturating_add(hours(1)).as_micros().div_ceil(1_000);
    assert!((least..=least + 10 * 60_000).contains(&kept_until()), "{} {least}", kept_until());
    let release = Command::Act(lease_id, Act::Release);
    let next = written(Some(&grant), &release, at, Duration::from_secs(1));
    let change =
        Change { expected: Some(&grant), next: &next, not_before: None, not_after: None, is_outcome: false };
    assert!(matches!(lessor_testkit::swap(&*store, &key("key"), &change).wait(), Ok(Swap::Stored)));
    // Its token is to be ten minutes old as well.
    let token = Timestamp::from_micros(grant.token().as_u64()).unwrap();
    is_kept_until(token.saturating_add(Duration::from_mins(10)));
}

/// Forward and backward by up to two hours, under leases of ten minutes. Stores that know the time from before go on beside one that is
/// opened after each step.
#[test]
fn p1_p2_p7_tokens_rise_and_nothing_runs_backwards_while_the_servers_clock_makes_steps() {
    const TTL: Duration = Duration::from_mins(10);
    const HOUR: u64 = 3_600_000_000;
    if !support::is_there() {
        return;
    }
    let Some(server) = FakedServer::start() else { return };
    let prefix = support::prefix();
    let open = || {
        let opener = lessor_redis::Opener::new().settings(support::settings(&prefix));
        Engine::new(Arc::new(opener.open(&server.url()).unwrap())).unwrap()
    };
    let old = [open(), open()];
    let steps = number_from_env("LESSOR_STEPS", 40);
    let mut dice = Dice(1);
    let (mut told, mut token) = ([Timestamp::EPOCH; 2], 0);
    let mut held: Option<Lease> = None;
    let (mut taken_over, mut refused) = (0, 0);
    for step in 0..steps {
        // A record's times never go back, so after some steps there is hardly one that ends a lease.
        let name = format!("key {}", step / 8);
        if step % 8 == 0 {
            (held, token) = (None, 0);
        }
        let off = i64::try_from(dice.below(2 * HOUR)).unwrap();
        server.clock.set_off(off);
        let fresh = open();
        // Those that were told of a later time go on from there, and so do their leases.
        let engine = old.get(usize::try_from(dice.below(8)).unwrap()).unwrap_or(&fresh);
        let is_over = || fresh.status(&name).wait().unwrap().is_none_or(|view| view.state() == State::Lapsed);
        let lease = loop {
            for (engine, told) in old.iter().zip(&mut told) {
                let now = engine.now().wait().unwrap();
                assert!(now >= *told, "step {step}: {now:?} after {told:?}");
                *told = now;
            }
            match engine.acquire(&name).ttl(TTL).wait().unwrap() {
                Acquisition::Acquired(lease) => break lease,
                // The estimate of a store may be a second old.
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
                Err(Error::NotHolder { token: newer }) => assert_eq!(newer, lease.token()),
                told => panic!("step {step}: {told:?}"),
            }
        }
        // An end is not before its begin, whatever the clock says.
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

/// The store's clock stood still until the server's had caught up with it, and a wait of a second lasted as long.
#[test]
fn p7_a_timeout_comes_although_the_servers_clock_was_set_back() {
    if !support::is_there() {
        return;
    }
    let Some(server) = FakedServer::start() else { return };
    let prefix = support::prefix();
    let opener = lessor_redis::Opener::new().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(opener.open(&server.url()).unwrap())).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire("key").wait().unwrap() else { panic!("it is taken") };
    server.clock.set_off(-2 * 3_600_000_000);
    // The store knows of it.
    lease.extend(Duration::from_hours(1)).wait().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(engine.wait_for("key", Duration::from_secs(1)).wait().unwrap().unwrap().state());
    });
    assert_eq!(receiver.recv_timeout(Duration::from_mins(1)), Ok(State::InProgress));
}
