//! Replies are lost or late.

use std::time::Duration;

use lessor_core::rules::{Acquire, Command, HolderCommand};
use lessor_core::store::{CasResult, ConditionalWrite};
use lessor_core::{LeaseId, Record, Store, StoreError};
use lessor_redis::RedisStore;

use crate::HOUR;
use crate::records::{granted, is_there, key, now, put, put_old, written};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{self, Server};
use crate::tools::{begin, end, eventually};

/// The deadline, which is short to keep the test short.
const DEADLINE: Duration = Duration::from_secs(1);

fn open(proxy: &Proxy, prefix: &str, deadline: Duration) -> RedisStore {
    let mut settings = support::settings(prefix);
    settings.deadline = deadline;
    RedisStore::builder().settings(settings).open(&proxy.url()).unwrap()
}

/// A caller that sends a request again cannot know the outcome of the first one.
#[test]
fn p6_a_request_is_sent_once_whatever_happens_to_its_reply() {
    const FAULTS: [Fault; 4] =
        [Fault::RequestCutAmid, Fault::ReplyCutBefore, Fault::ReplyCutAmid, Fault::ReplyLate];
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, DEADLINE);
    let (store, truth) = (open(&proxy, &prefix, DEADLINE), support::open(&server, &prefix));
    let (grant, lease_id) = granted(now(&truth));
    let next = written(Some(&grant), &Command::Holder(lease_id, HolderCommand::Release), now(&truth), HOUR);
    // From now on the server has the scripts.
    put_old(&truth, "key", &grant);
    assert!(is_there(&truth, "key").unwrap());
    for fault in FAULTS {
        for what in ["fresh", "over", "load"] {
            let is_met = (0..20).any(|round| {
                let text = format!("{what} {fault:?} {round}");
                if what != "fresh" {
                    assert!(matches!(put(&truth, &text, &grant), Ok(CasResult::Written)));
                }
                eventually("the store is connected", || is_there(&store, "key").is_ok());
                proxy.watch(&text);
                proxy.plan(&[(1, fault)]);
                let answer = match what {
                    "fresh" => put(&store, &text, &grant),
                    "over" => swap(&store, &text, &grant, &next),
                    _ => is_there(&store, &text).map(|_| CasResult::Written),
                };
                let calls = proxy.watched();
                proxy.quiet();
                assert!(calls <= 1, "{text} was sent {calls} times");
                match answer {
                    Err(error) => {
                        let is_in_doubt = matches!(error, StoreError::Indeterminate(_));
                        assert_eq!(is_in_doubt, what != "load", "{text}: {error}");
                        true
                    }
                    // The fault met the store's own sample of the clock.
                    Ok(CasResult::Written) => false,
                    other => panic!("{text}: {other:?}"),
                }
            });
            assert!(is_met, "{what} {fault:?}");
        }
    }
}

fn swap(store: &RedisStore, text: &str, expected: &Record, next: &Record) -> Result<CasResult, StoreError> {
    let change = ConditionalWrite::new(Some(expected), next);
    lessor_testkit::swap(store, &key(text), &change).wait()
}

fn acquire(ttl: Duration) -> Command {
    let lease_id = LeaseId::random().unwrap();
    Command::Acquire(Acquire::new(lease_id, ttl))
}

/// The reply to a fresh grant does not show when the grant arrived, and here it is late. If the
/// grant itself arrived in time, it counts, and a grant that another caller was given over it
/// meanwhile stays. If the grant arrived late, a record with a higher token may have been written,
/// ended and purged before. Then it is not a grant.
#[test]
fn p2_a_fresh_grant_with_a_late_reply_counts_only_if_the_grant_arrived_in_time() {
    // The age that a token may have when its grant arrives.
    const OLDEST: Duration = Duration::from_mins(5);
    const LATE: Duration = Duration::from_secs(1);
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, LATE);
    let truth = support::open(&server, &prefix);
    let stored = |text: &str| truth.load(&key(text)).wait().unwrap().record;
    for (fault, is_taken_over) in
        [(Fault::ReplyLate, false), (Fault::ReplyLate, true), (Fault::RequestLate, false)]
    {
        // On a slow machine, the token may be too old from the start.
        let is_met = (0..20).any(|round| {
            let text = format!("key {fault:?} {is_taken_over} {round}");
            let store = open(&proxy, &prefix, Duration::from_secs(60));
            let at = now(&store).saturating_sub(OLDEST - LATE / 2);
            let late = written(None, &acquire(Duration::from_millis(1)), at, HOUR);
            let before = server.calls(&["set"]);
            proxy.plan(&[(1, fault)]);
            let (name, grant) = (text.clone(), late.clone());
            let pending = begin(move || put(&store, &name, &grant));
            let mut early = None;
            eventually("it is there, or the store has answered", || {
                early = pending.try_recv().ok();
                early.is_some() || stored(&text).is_some()
            });
            let rival = written(Some(&late), &acquire(HOUR), now(&truth), HOUR);
            let has_rival = early.is_none()
                && is_taken_over
                && matches!(swap(&truth, &text, &late, &rival), Ok(CasResult::Written));
            let answer = early.unwrap_or_else(|| end("the answer", &pending));
            proxy.quiet();
            let has_arrived = server.calls(&["set"]) > before;
            match answer.unwrap() {
                CasResult::Written => {
                    assert_ne!(fault, Fault::RequestLate, "{text}");
                    assert_eq!(stored(&text), Some(late), "{text}");
                    !is_taken_over
                }
                CasResult::Conflict(seen) => {
                    assert!(has_rival, "{text}: {seen:?}");
                    assert_eq!((&seen.record, stored(&text)), (&Some(rival.clone()), Some(rival)), "{text}");
                    true
                }
                CasResult::Rejected(seen) => {
                    assert_eq!((seen.record, stored(&text)), (None, None), "{text}");
                    has_arrived && fault == Fault::RequestLate
                }
                other => panic!("{text}: {other:?}"),
            }
        });
        assert!(is_met, "{fault:?} {is_taken_over}");
    }
}
