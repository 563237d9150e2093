//! The server is replaced: restarted without its data, promoted, or made a replica.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Lease, State, Store};
use lessor_redis::RedisStore;

use crate::HOUR;
use crate::support::proxy::Proxy;
use crate::support::{self, Server};
use crate::tools::{self, eventually, lease, open_with_short_deadline, retry_while_down};

#[test]
fn p2_tokens_rise_after_a_restart_without_persistence() {
    if !support::is_available() {
        return;
    }
    let (mut server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let mut last: Vec<Option<Lease>> = (0..4).map(|_| None).collect();
    for restarts in 0..4 {
        for (i, last) in last.iter_mut().enumerate() {
            let key = format!("key {i}");
            assert!(retry_while_down(|| engine.status(&key).wait()).is_none(), "the record was lost");
            let next = lease(engine.acquire(&key).ttl(HOUR).wait());
            if let Some(former) = last.replace(next) {
                let next = last.as_ref().unwrap();
                assert!(next.token() > former.token());
                assert_eq!(next.attempt(), 1);
                match former.complete("stale").wait() {
                    Err(Error::NotHolder { token, .. }) => assert_eq!(token, next.token()),
                    other => panic!("the holder of a lost grant received {other:?}"),
                }
            }
        }
        let run = store.server().unwrap().run_id;
        assert_eq!(store.server_changes(), restarts);
        server.restart();
        eventually("another server is found", || store.server_changes() == restarts + 1);
        assert_ne!(store.server().unwrap().run_id, run);
    }
}

#[test]
fn a_broken_connection_does_not_count_as_another_server() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let engine_store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&engine_store) as Arc<dyn Store>).unwrap();
    for i in 0..20 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        retry_while_down(|| engine.acquire(&format!("key {i}")).wait().map(drop));
    }
    assert_eq!(engine_store.server_changes(), 0);
}

#[test]
fn p2_promoting_a_replica_loses_only_unreplicated_writes_and_tokens_rise() {
    if !support::is_available() {
        return;
    }
    let (mut master, replica, prefix) = (Server::durable(), Server::volatile(), support::prefix());
    let port = master.port.to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
    eventually("the replica is in step", || master.command(&["WAIT", "1", "100"]) == ":1");

    let old = Engine::new(Arc::new(support::open(&master, &prefix))).unwrap();
    let acquire = |engine: &Engine, key: &str| lease(engine.acquire(key).ttl(HOUR).wait());
    let (held, finished) = (acquire(&old, "held"), acquire(&old, "finished"));
    finished.complete("kept").wait().unwrap();
    let half = acquire(&old, "half");
    // `WAIT` covers the writes on its own connection, and all writes before them.
    let replicated = tools::run_commands(&master, &[&["SET", "marker", "x"], &["WAIT", "1", "60000"]]);
    assert_eq!(replicated, ":1");
    // From here on nothing is replicated.
    let nowhere = support::free_port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
    half.complete("lost").wait().unwrap();
    let lost = acquire(&old, "lost");

    master.kill();
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    let new = Engine::new(Arc::new(support::open(&replica, &prefix))).unwrap();
    let view = new.status("finished").wait().unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "kept");
    assert!(matches!(new.acquire("held").wait().unwrap(), Acquisition::InProgress(_)));
    new.lease_handle("held", *held.lease_id()).unwrap().complete("by its holder").wait().unwrap();
    // Only the completion was lost. It can be delivered again.
    assert_eq!(new.status("half").wait().unwrap().unwrap().state(), State::InProgress);
    new.lease_handle("half", *half.lease_id()).unwrap().complete("lost").wait().unwrap();
    assert!(new.status("lost").wait().unwrap().is_none());
    let again = acquire(&new, "lost");
    assert!(again.token() > lost.token());
    let stale = new.lease_handle("lost", *lost.lease_id()).unwrap().complete("stale").wait();
    assert!(matches!(stale, Err(Error::NotHolder { token, .. }) if token == again.token()), "{stale:?}");
    let after = acquire(&new, "after");
    for before in [&held, &finished, &half, &lost] {
        assert!(after.token() > before.token(), "of another key, since both clocks agree");
    }
    // The old engine's server is gone, so dropping its leases would only report errors.
    [held, finished, half, lost].into_iter().for_each(std::mem::forget);
}

#[test]
fn a_server_that_became_a_replica_is_unavailable_until_it_is_promoted() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let engine = Engine::new(Arc::new(open_with_short_deadline(&server, &prefix))).unwrap();
    let held = lease(engine.acquire("held").ttl(HOUR).wait());
    for _ in 0..3 {
        let nowhere = support::free_port().to_string();
        assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
        let errors = [
            engine.acquire("new").wait().unwrap_err(),
            held.extend(HOUR).wait().unwrap_err(),
            held.complete("done").wait().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("is a replica and rejects writes"), "{error}");
        }
        assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
        retry_while_down(|| held.extend(HOUR).wait());
    }
    retry_while_down(|| held.complete("done").wait());
    assert_eq!(lease(engine.acquire("new").wait()).attempt(), 1, "the rejected writes had no effect");
}

/// A failover that moves an address to another server leaves connections to the old server open,
/// which is a replica from then on.
#[test]
fn a_write_rejected_by_a_replica_makes_the_store_reconnect_to_the_new_master() {
    if !support::is_available() {
        return;
    }
    let (old, new, prefix) = (Server::volatile(), Server::volatile(), support::prefix());
    let proxy = Proxy::start(old.port, Duration::ZERO);
    let builder = RedisStore::builder().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(builder.open(&proxy.url()).unwrap())).unwrap();
    lease(engine.acquire("before").wait()).complete("done").wait().unwrap();
    proxy.lead_to(new.port);
    let nowhere = support::free_port().to_string();
    assert_eq!(old.command(&["REPLICAOF", "127.0.0.1", &nowhere]), "+OK");
    let error = engine.acquire("key").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("is a replica and rejects writes"), "{error}");
    // The next call waits for the new connection.
    assert_eq!(lease(engine.acquire("key").wait()).attempt(), 1);
    assert_eq!(new.command(&["EXISTS", &format!("{prefix}:key")]), ":1");
}
