//! The server becomes another one: restarted without its data, promoted, or made a replica.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Lease, State, Store};
use lessor_redis::Opener;

use crate::HOUR;
use crate::support::proxy::Proxy;
use crate::support::{self, Server};
use crate::tools::{self, eventually, impatient, insist, lease};

#[test]
fn p2_tokens_rise_though_a_restart_without_persistence_loses_everything() {
    if !support::is_there() {
        return;
    }
    let (mut server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let mut last: Vec<Option<Lease>> = (0..4).map(|_| None).collect();
    for restarts in 0..4 {
        for (i, last) in last.iter_mut().enumerate() {
            let key = format!("key {i}");
            assert!(insist(|| engine.status(&key).wait()).is_none(), "it was lost");
            let next = lease(engine.acquire(&key).ttl(HOUR).wait());
            if let Some(former) = last.replace(next) {
                let next = last.as_ref().unwrap();
                assert!(next.token() > former.token());
                assert_eq!(next.attempt(), 1);
                match former.complete("stale").wait() {
                    Err(Error::NotHolder { token }) => assert_eq!(token, next.token()),
                    other => panic!("the holder of a lost grant was told {other:?}"),
                }
            }
        }
        let run = store.server().unwrap().run_id;
        assert_eq!(store.replaced(), restarts);
        server.start_again();
        eventually("another server is found", || store.replaced() == restarts + 1);
        assert_ne!(store.server().unwrap().run_id, run);
    }
}

#[test]
fn a_connection_that_broke_does_not_count_as_another_server() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let engine_store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&engine_store) as Arc<dyn Store>).unwrap();
    for i in 0..20 {
        server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
        insist(|| engine.acquire(&format!("key {i}")).wait().map(drop));
    }
    assert_eq!(engine_store.replaced(), 0);
}

#[test]
fn p2_the_promotion_of_a_replica_loses_only_what_it_had_not_got_and_tokens_rise() {
    if !support::is_there() {
        return;
    }
    let (mut master, replica, prefix) = (Server::durable(), Server::volatile(), support::prefix());
    let port = master.port.to_string();
    assert_eq!(replica.say(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
    eventually("the replica is in step", || master.say(&["WAIT", "1", "100"]) == ":1");

    let old = Engine::new(Arc::new(support::open(&master, &prefix))).unwrap();
    let acquire = |engine: &Engine, key: &str| lease(engine.acquire(key).ttl(HOUR).wait());
    let (held, finished) = (acquire(&old, "held"), acquire(&old, "finished"));
    finished.complete("kept").wait().unwrap();
    let half = acquire(&old, "half");
    // It waits for what was written on its own connection, and for all before that.
    let replicated = tools::talk(&master, &[&["SET", "marker", "x"], &["WAIT", "1", "60000"]]);
    assert_eq!(replicated, ":1");
    // From here on nothing is replicated.
    let nowhere = support::free_port().to_string();
    assert_eq!(replica.say(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
    half.complete("lost").wait().unwrap();
    let lost = acquire(&old, "lost");

    master.kill();
    assert_eq!(replica.say(&["REPLICAOF", "NO", "ONE"]), "+OK");
    let new = Engine::new(Arc::new(support::open(&replica, &prefix))).unwrap();
    let view = new.status("finished").wait().unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "kept");
    assert!(matches!(new.acquire("held").wait().unwrap(), Acquisition::InProgress(_)));
    new.held("held", *held.lease_id()).unwrap().complete("by its holder").wait().unwrap();
    // What was lost of it is only the completion, which can be delivered again.
    assert_eq!(new.status("half").wait().unwrap().unwrap().state(), State::InProgress);
    new.held("half", *half.lease_id()).unwrap().complete("lost").wait().unwrap();
    assert!(new.status("lost").wait().unwrap().is_none());
    let again = acquire(&new, "lost");
    assert!(again.token() > lost.token());
    let stale = new.held("lost", *lost.lease_id()).unwrap().complete("stale").wait();
    assert!(matches!(stale, Err(Error::NotHolder { token }) if token == again.token()), "{stale:?}");
    let after = acquire(&new, "after");
    for before in [&held, &finished, &half, &lost] {
        assert!(after.token() > before.token(), "of another key, since both clocks agree");
    }
    // Its server is gone, and the old engine says so.
    [held, finished, half, lost].into_iter().for_each(std::mem::forget);
}

#[test]
fn a_server_that_became_a_replica_is_an_outage_until_it_is_promoted_again() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let engine = Engine::new(Arc::new(impatient(&server, &prefix))).unwrap();
    let held = lease(engine.acquire("held").ttl(HOUR).wait());
    for _ in 0..3 {
        let nowhere = support::free_port().to_string();
        assert_eq!(server.say(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
        let errors = [
            engine.acquire("new").wait().unwrap_err(),
            held.extend(HOUR).wait().unwrap_err(),
            held.complete("done").wait().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("is a replica and takes no writes"), "{error}");
        }
        assert_eq!(server.say(&["REPLICAOF", "NO", "ONE"]), "+OK");
        insist(|| held.extend(HOUR).wait());
    }
    insist(|| held.complete("done").wait());
    assert_eq!(lease(engine.acquire("new").wait()).attempt(), 1, "nothing came of the refused ones");
}

/// A fail-over that moves an address to another server leaves connections to the old one open, which is a replica from then on.
#[test]
fn a_write_that_a_replica_refuses_leads_to_the_master_that_took_its_place() {
    if !support::is_there() {
        return;
    }
    let (old, new, prefix) = (Server::volatile(), Server::volatile(), support::prefix());
    let proxy = Proxy::start(old.port, Duration::ZERO);
    let opener = Opener::new().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(opener.open(&proxy.url()).unwrap())).unwrap();
    lease(engine.acquire("before").wait()).complete("done").wait().unwrap();
    proxy.lead_to(new.port);
    let nowhere = support::free_port().to_string();
    assert_eq!(old.say(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
    let error = engine.acquire("key").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("is a replica and takes no writes"), "{error}");
    // The next one waits for the new connection.
    assert_eq!(lease(engine.acquire("key").wait()).attempt(), 1);
    assert_eq!(new.say(&["EXISTS", &format!("{prefix}:key")]), ":1");
}
