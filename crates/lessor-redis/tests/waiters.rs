//! Waiters are notified of writes that other stores make on the same server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, LeaseId, Store};
use support::Server;
use tap::Tap;
use tools::{begin, end, eventually, lease, retry_while_down, slowly_loading};

mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns an engine that never polls, and the wrapper that counts its loads.
fn waiting_engine(server: &Server, prefix: &str) -> (Arc<Engine>, Tap) {
    let tap = Tap::new(&Arc::new(support::open(server, prefix))).without_timers();
    (Arc::new(Engine::new(tap.store()).unwrap()), tap)
}

/// Begins to wait for a key. Returns once the waiter has read the key.
fn wait_for(
    engine: &Arc<Engine>,
    tap: &Tap,
    key: &str,
) -> std::sync::mpsc::Receiver<Result<Option<lessor_core::View>, Error>> {
    let (engine, key, loads) = (Arc::clone(engine), key.to_owned(), tap.loads());
    let waiting = begin(move || engine.wait_for(&key, HOUR).wait());
    eventually("the waiter has looked", || tap.loads() > loads);
    waiting
}

#[test]
fn a_waiter_is_woken_by_another_stores_write() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    // A dropped lease ends by the time of its holder, which may be slightly ahead of the server's.
    // The waiter would need a timer for the difference, but not on a clock that stands still.
    let (behind, _) = waiting_engine(&server, &prefix);
    let (engine, tap) = waiting_engine(&server, &prefix);
    for i in 0..20 {
        let key = format!("key {{{i}}} %");
        let held = lease(if i % 4 == 3 { behind.acquire(&key) } else { other.acquire(&key) }.wait());
        let waiting = wait_for(&engine, &tap, &key);
        // An extension wakes the waiter, which then waits again.
        held.extend(HOUR).wait().unwrap();
        match i % 4 {
            0 => drop(held.complete(&i).wait().unwrap()),
            1 => drop(held.fail("broken").wait().unwrap()),
            2 => drop(held.release().wait().unwrap()),
            _ => drop(held),
        }
        let view = end("the waiter is woken", &waiting).unwrap().unwrap();
        assert!(view.is_finished() || i % 4 >= 2, "{view:?}");
    }
}

/// Regression: two engines of a process share a store, and thus a connection. The server did not
/// report the changes made on that connection, so a waiter of one engine did not notice that the
/// other one had completed the key until it polled.
#[test]
fn a_waiter_is_woken_by_a_write_of_another_engine_on_the_same_store() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let tap = Tap::new(&store).without_timers();
    let engine = Arc::new(Engine::new(tap.store()).unwrap());
    let other = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    for i in 0..8 {
        let key = format!("key {i}");
        let held = lease(other.acquire(&key).wait());
        let waiting = wait_for(&engine, &tap, &key);
        held.complete(&i).wait().unwrap();
        assert!(end("the waiter is woken", &waiting).unwrap().unwrap().is_finished());
    }
}

/// Regression: the server reports one change to a key that was read, and then no more. An extension
/// on the waiter's own connection was not reported, but counted as that one change. So the next
/// write of another process went unnoticed.
#[test]
fn a_waiter_is_woken_by_another_store_after_an_extension_by_its_own() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let tap = Tap::new(&store).without_timers();
    let engine = Arc::new(Engine::new(tap.store()).unwrap());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    for i in 0..8 {
        let key = format!("key {i}");
        let held = lease(engine.acquire(&key).ttl(HOUR).wait());
        let waiting = wait_for(&engine, &tap, &key);
        let loads = tap.loads();
        held.extend(HOUR).wait().unwrap();
        // The extension is reported, so the waiter reads again and is notified of the next change.
        eventually("the waiter has looked again", || tap.loads() > loads);
        assert!(other.forget_forced(&key).wait().unwrap());
        assert!(end("the waiter is woken", &waiting).unwrap().is_none());
    }
}

/// Regression: a waiter's load enabled tracking only if the server had the script. Otherwise, as
/// after a restart or `SCRIPT FLUSH`, the script was sent in full without enabling tracking, and
/// the waiter was not woken until it polled.
#[test]
fn a_waiter_that_read_from_a_server_without_the_scripts_is_woken_too() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    let held = lease(other.acquire("key").wait());
    assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
    let waiting = wait_for(&engine, &tap, "key");
    held.complete("done").wait().unwrap();
    let view = end("the waiter is woken", &waiting).unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "done");
}

#[test]
fn a_waiter_is_woken_by_changes_during_and_after_a_lost_connection() {
    if !support::is_available() {
        return;
    }
    let (mut server, prefix) = (Server::durable(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    for i in 0..12 {
        let key = format!("key {i}");
        let held = lease(retry_acquire(&other, &key));
        let waiting = wait_for(&engine, &tap, &key);
        let loads = tap.loads();
        match i % 3 {
            0 => server.restart(),
            _ => drop(server.command(&["CLIENT", "KILL", "TYPE", "normal"])),
        }
        // In one half of the rounds, the change is made after the waiter has read again; in the
        // other half, before.
        if i % 2 == 0 {
            eventually("the waiter has looked again", || tap.loads() > loads);
        }
        retry_while_down(|| held.complete(&i).wait());
        let view = end("the waiter is woken", &waiting).unwrap().unwrap();
        assert_eq!(view.result::<i32>().unwrap(), i);
    }
}

fn retry_acquire(engine: &Engine, key: &str) -> Result<Acquisition, Error> {
    let lease_id = LeaseId::random().unwrap();
    Ok(retry_while_down(|| engine.acquire(key).lease_id(lease_id).wait()))
}

#[test]
fn a_waiter_is_granted_a_lease_that_another_store_releases() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    let held = lease(other.acquire("key").wait());
    let contender = Arc::clone(&engine);
    let loads = tap.loads();
    let ran = begin(move || {
        contender.once("key").run(|_| Ok::<_, String>("by the second".to_owned())).unwrap().attempt()
    });
    eventually("the contender has looked", || tap.loads() > loads);
    held.release().wait().unwrap();
    assert_eq!(end("the contender gets its turn", &ran), 2);
}

/// Regression: a connection was accepted while the server was still loading after a restart. The
/// waiter read at once, received the error, and was not notified when the server was ready.
#[test]
fn a_waiter_is_woken_after_its_server_took_long_to_load() {
    if !support::is_available() {
        return;
    }
    let prefix = support::prefix();
    let mut server = slowly_loading(&prefix);
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    let held = lease(other.acquire("awaited").ttl(HOUR).wait());
    let waiting = wait_for(&engine, &tap, "awaited");
    assert_eq!(server.command(&["SAVE"]), "+OK");
    let loads = tap.loads();
    server.restart();
    eventually("the waiter has looked again", || tap.loads() > loads);
    retry_while_down(|| held.complete("done").wait());
    let view = end("the waiter is woken", &waiting).unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "done");
}
