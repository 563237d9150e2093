//! Answers are lost, or come late.

use std::time::Duration;

use lessor_core::machine::{Acquire, Act, Command};
use lessor_core::store::{Change, Swap};
use lessor_core::{LeaseId, OnFailed, OnLapsed, Record, Store, StoreError};
use lessor_redis::{Opener, RedisStore};

use crate::HOUR;
use crate::records::{granted, is_there, key, now, put, put_old, written};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{self, Server};
use crate::tools::{begin, end, eventually};

/// More than the deadline of a store that is in no hurry would be a long test.
const DEADLINE: Duration = Duration::from_secs(1);

fn open(proxy: &Proxy, prefix: &str, deadline: Duration) -> RedisStore {
    let mut settings = support::settings(prefix);
    settings.deadline = deadline;
    Opener::new().settings(settings).open(&proxy.url()).unwrap()
}

/// Whoever sends again cannot say what became of the first one.
#[test]
fn p6_whatever_becomes_of_the_answer_a_request_is_sent_once() {
    const FAULTS: [Fault; 4] =
        [Fault::RequestCutAmid, Fault::ReplyCutBefore, Fault::ReplyCutAmid, Fault::ReplyLate];
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, DEADLINE);
    let (store, truth) = (open(&proxy, &prefix, DEADLINE), support::open(&server, &prefix));
    let (grant, lease_id) = granted(now(&truth));
    let next = written(Some(&grant), &Command::Act(lease_id, Act::Release), now(&truth), HOUR);
    // From now on the server has the scripts.
    put_old(&truth, "key", &grant);
    assert!(is_there(&truth, "key").unwrap());
    for fault in FAULTS {
        for what in ["fresh", "over", "load"] {
            let is_met = (0..20).any(|round| {
                let text = format!("{what} {fault:?} {round}");
                if what != "fresh" {
                    assert!(matches!(put(&truth, &text, &grant), Ok(Swap::Stored)));
                }
                eventually("the store is connected", || is_there(&store, "key").is_ok());
                proxy.watch(&text);
                proxy.plan(&[(1, fault)]);
                let told = match what {
                    "fresh" => put(&store, &text, &grant),
                    "over" => swap(&store, &text, &grant, &next),
                    _ => is_there(&store, &text).map(|_| Swap::Stored),
                };
                let calls = proxy.watched();
                proxy.quiet();
                assert!(calls <= 1, "{text} was sent {calls} times");
                match told {
                    Err(error) => {
                        let is_in_doubt = matches!(error, StoreError::Indeterminate { .. });
                        assert_eq!(is_in_doubt, what != "load", "{text}: {error}");
                        true
                    }
                    // It was the store's own look at the clock that met the fault.
                    Ok(Swap::Stored) => false,
                    other => panic!("{text}: {other:?}"),
                }
            });
            assert!(is_met, "{what} {fault:?}");
        }
    }
}

fn swap(store: &RedisStore, text: &str, expected: &Record, next: &Record) -> Result<Swap, StoreError> {
    let change =
        Change { expected: Some(expected), next, not_before: None, not_after: None, is_outcome: false };
    lessor_testkit::swap(&*store, &key(text), &change).wait()
}

fn acquire(ttl: Duration) -> Command {
    let (lease_id, on_failed, on_lapsed) = (LeaseId::random().unwrap(), OnFailed::Replay, OnLapsed::TakeOver);
    Command::Acquire(Acquire {
        lease_id,
        ttl,
        holder: None,
        metadata: None,
        fingerprint: None,
        on_failed,
        on_lapsed,
    })
}

/// The answer to a fresh grant says nothing about when the grant arrived, and it came late. If the grant itself arrived in time it stands, and
/// what somebody else was granted over it meanwhile stays. If it arrived late, a record with a higher token may have come, ended and been
/// purged before: then it is no grant.
#[test]
fn p2_a_fresh_grant_whose_answer_came_late_counts_only_if_the_grant_arrived_in_time() {
    // How old a token may be when its grant arrives.
    const OLDEST: Duration = Duration::from_mins(5);
    const LATE: Duration = Duration::from_secs(1);
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, LATE);
    let truth = support::open(&server, &prefix);
    let stored = |text: &str| truth.load(&key(text)).wait().unwrap().record;
    for (fault, is_taken_over) in
        [(Fault::ReplyLate, false), (Fault::ReplyLate, true), (Fault::RequestLate, false)]
    {
        // On a slow machine the token may be too old from the start.
        let is_met = (0..20).any(|round| {
            let text = format!("key {fault:?} {is_taken_over} {round}");
            let store = open(&proxy, &prefix, Duration::from_secs(60));
            let at = now(&store).saturating_sub(OLDEST - LATE / 2);
            let late = written(None, &acquire(Duration::from_millis(1)), at, HOUR);
            let before = server.calls(&["set"]);
            proxy.plan(&[(1, fault)]);
            let (name, grant) = (text.clone(), late.clone());
            let told = begin(move || put(&store, &name, &grant));
            let mut early = None;
            eventually("it is there, or the store has answered", || {
                early = told.try_recv().ok();
                early.is_some() || stored(&text).is_some()
            });
            let rival = written(Some(&late), &acquire(HOUR), now(&truth), HOUR);
            let has_rival = early.is_none()
                && is_taken_over
                && matches!(swap(&truth, &text, &late, &rival), Ok(Swap::Stored));
            let told = early.unwrap_or_else(|| end("the answer", &told));
            proxy.quiet();
            let has_arrived = server.calls(&["set"]) > before;
            match told.unwrap() {
                Swap::Stored => {
                    assert_ne!(fault, Fault::RequestLate, "{text}");
                    assert_eq!(stored(&text), Some(late), "{text}");
                    !is_taken_over
                }
                Swap::Conflict(seen) => {
                    assert!(has_rival, "{text}: {seen:?}");
                    assert_eq!((&seen.record, stored(&text)), (&Some(rival.clone()), Some(rival)), "{text}");
                    true
                }
                Swap::OutOfWindow(seen) => {
                    assert_eq!((seen.record, stored(&text)), (None, None), "{text}");
                    has_arrived && fault == Fault::RequestLate
                }
                other @ Swap::Stamped(_) => panic!("{text}: {other:?}"),
            }
        });
        assert!(is_met, "{fault:?} {is_taken_over}");
    }
}
