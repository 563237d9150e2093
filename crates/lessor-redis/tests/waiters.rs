//! Waiters hear of what other stores on the same server write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, LeaseId, Store};
use support::Server;
use tap::Tap;
use tools::{begin, end, eventually, insist, lease, slowly_loading};

mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

const HOUR: Duration = Duration::from_secs(3600);

/// An engine that never looks by itself, and what counts its loads.
fn waiting_engine(server: &Server, prefix: &str) -> (Arc<Engine>, Tap) {
    let tap = Tap::new(&Arc::new(support::open(server, prefix))).without_timers();
    (Arc::new(Engine::new(tap.store()).unwrap()), tap)
}

/// Begins to wait for a key, and returns when the waiter has looked.
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
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    // A lease that is dropped ends by the time of whoever drops it. That may be a moment ahead of the server's, which the waiter would
    // need a timer for; but not where it stands still.
    let (behind, _) = waiting_engine(&server, &prefix);
    let (engine, tap) = waiting_engine(&server, &prefix);
    for i in 0..20 {
        let key = format!("key {{{i}}} %");
        let held = lease(if i % 4 == 3 { behind.acquire(&key) } else { other.acquire(&key) }.wait());
        let waiting = wait_for(&engine, &tap, &key);
        // What does not end the work wakes nobody for good.
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

/// The story: two engines of a process share a store, and so a connection. The server did not report what that connection changes itself, so a
/// waiter of one engine did not notice what the other completed until it looked by itself.
#[test]
fn a_waiter_is_woken_by_what_another_engine_on_the_same_store_writes() {
    if !support::is_there() {
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

/// The story: the server reports one change of what was loaded, and then no more. An extension by the waiter's own connection was not reported, but
/// counted as that one change. So what another process did next went unnoticed.
#[test]
fn a_waiter_is_woken_by_another_store_after_an_extension_by_its_own() {
    if !support::is_there() {
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
        // The extension is reported, so the waiter looks again, and is told of the next change.
        eventually("the waiter has looked again", || tap.loads() > loads);
        assert!(other.forget_forced(&key).wait().unwrap());
        assert!(end("the waiter is woken", &waiting).unwrap().is_none());
    }
}

/// The load that a waiter looks by asked the server to tell of changes only if the server knew the script. Where it did not, as after a
/// restart or `SCRIPT FLUSH`, the script was sent in full without asking for that, and the waiter went on until its next look.
#[test]
fn a_waiter_that_looked_on_a_server_without_scripts_is_woken_too() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    let held = lease(other.acquire("key").wait());
    assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "+OK");
    let waiting = wait_for(&engine, &tap, "key");
    held.complete("done").wait().unwrap();
    let view = end("the waiter is woken", &waiting).unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "done");
}

#[test]
fn a_waiter_is_woken_by_what_happens_after_its_connection_was_cut_and_by_what_happened_meanwhile() {
    if !support::is_there() {
        return;
    }
    let (mut server, prefix) = (Server::durable(), support::prefix());
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    for i in 0..12 {
        let key = format!("key {i}");
        let held = lease(insist_on(&other, &key));
        let waiting = wait_for(&engine, &tap, &key);
        let loads = tap.loads();
        match i % 3 {
            0 => server.start_again(),
            _ => drop(server.say(&["CLIENT", "KILL", "TYPE", "normal"])),
        }
        // Either after it has looked again, or before.
        if i % 2 == 0 {
            eventually("the waiter has looked again", || tap.loads() > loads);
        }
        insist(|| held.complete(&i).wait());
        let view = end("the waiter is woken", &waiting).unwrap().unwrap();
        assert_eq!(view.result::<i32>().unwrap(), i);
    }
}

fn insist_on(engine: &Engine, key: &str) -> Result<Acquisition, Error> {
    let lease_id = LeaseId::random().unwrap();
    Ok(insist(|| engine.acquire(key).lease_id(lease_id).wait()))
}

#[test]
fn a_waiter_for_a_turn_gets_it_when_another_store_hands_the_lease_back() {
    if !support::is_there() {
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

/// A connection counted as good while the server was still loading its data after a restart. The waiter looked at once, was told so, and
/// was not told to look again when the server was ready.
#[test]
fn a_waiter_is_woken_though_its_server_took_long_to_load() {
    if !support::is_there() {
        return;
    }
    let prefix = support::prefix();
    let mut server = slowly_loading(&prefix);
    let other = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    let (engine, tap) = waiting_engine(&server, &prefix);
    let held = lease(other.acquire("awaited").ttl(HOUR).wait());
    let waiting = wait_for(&engine, &tap, "awaited");
    assert_eq!(server.say(&["SAVE"]), "+OK");
    let loads = tap.loads();
    server.start_again();
    eventually("the waiter has looked again", || tap.loads() > loads);
    insist(|| held.complete("done").wait());
    let view = end("the waiter is woken", &waiting).unwrap().unwrap();
    assert_eq!(view.result::<String>().unwrap(), "done");
}
