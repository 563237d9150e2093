//! The server hangs, is busy, is down, or loads its data slowly.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Scan};
use lessor_core::{Acquisition, Engine, Error, ErrorKind, Key, Lease, LeaseId, State, Store, StoreError};
use lessor_redis::RedisStore;

use crate::HOUR;
use crate::records::{granted, is_there, now, put};
use crate::support::{self, Server};
use crate::tap::Tap;
use crate::tools::{
    SLOWLY_LOADED, begin, end, eventually, is_outage, lease, open_with, open_with_short_deadline, record,
    retry_while_down, slowly_loading,
};

type Read = fn(&Engine, &RedisStore) -> Result<(), Error>;

/// Performs one operation while the server hangs. The server continues once the write is
/// indeterminate. Returns the number of indeterminate writes.
fn in_doubt<T: Send + 'static>(
    server: &Arc<Server>,
    prefix: &str,
    prepare: impl FnOnce(&Engine) -> Option<Lease>,
    operate: impl FnOnce(&Engine, Option<Lease>) -> T + Send + 'static,
) -> T {
    let store = Arc::new(open_with_short_deadline(server, prefix));
    let waking = Arc::clone(server);
    let tap = Tap::new(&store).on_indeterminate(move || waking.signal("-CONT"));
    let engine = Engine::new(tap.store()).unwrap();
    let prepared = prepare(&engine);
    server.signal("-STOP");
    let answer = end("an operation on a server that hangs", &begin(move || operate(&engine, prepared)));
    server.signal("-CONT");
    assert!(tap.indeterminate_writes() > 0, "no write was indeterminate");
    answer
}

#[test]
fn p6_a_write_that_took_effect_without_a_reply_is_recognised() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Arc::new(Server::volatile()), support::prefix());
    let store = support::open(&server, &prefix);
    let version = |key: &str| record(&store, key).unwrap().version().as_u64();
    let grant = |key: &'static str| move |engine: &Engine| Some(lease(engine.acquire(key).wait()));

    let granted = in_doubt(
        &server,
        &prefix,
        |_| None,
        |engine, _| retry_while_down(|| engine.acquire("acquire").wait()),
    );
    assert!(matches!(granted, Acquisition::Acquired(_)), "{granted:?}");
    assert_eq!(version("acquire"), 1);

    in_doubt(&server, &prefix, grant("complete"), |_, lease| {
        retry_while_down(|| lease.as_ref().unwrap().complete("done").wait());
    });
    assert_eq!((version("complete"), record(&store, "complete").unwrap().attempt()), (2, 1));

    in_doubt(&server, &prefix, grant("fail"), |_, lease| {
        retry_while_down(|| lease.as_ref().unwrap().fail("broken").wait());
    });
    assert_eq!(version("fail"), 2);

    in_doubt(&server, &prefix, grant("release"), |_, lease| {
        retry_while_down(|| lease.as_ref().unwrap().release().wait());
    });
    assert_eq!(version("release"), 2);
}

#[test]
fn every_call_to_a_server_that_hangs_ends_and_nothing_is_done_twice() {
    const EACH: usize = 8;
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(open_with_short_deadline(&server, &prefix));
    let engine = Arc::new(Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap());
    let leases: Vec<Arc<Lease>> =
        (0..EACH).map(|i| Arc::new(lease(engine.acquire(&format!("held {i}")).wait()))).collect();
    let ids: Vec<LeaseId> = (0..EACH).map(|_| LeaseId::random().unwrap()).collect();

    server.signal("-STOP");
    // Each call ends without a reply: the server continues only after the last one.
    let mut calls = Vec::new();
    for i in 0..EACH {
        let (e, id) = (Arc::clone(&engine), ids[i]);
        calls.push(("acquire", begin(move || e.acquire(&format!("new {i}")).lease_id(id).wait().map(drop))));
        let lease = Arc::clone(&leases[i]);
        calls.push(("complete", begin(move || lease.complete(&i).wait().map(drop))));
    }
    let reads: [(&str, Read); 5] = [
        ("status", |engine, _| engine.status("held 0").wait().map(drop)),
        ("list", |engine, _| engine.list().prefix("held").limit(10).wait().map(drop)),
        ("purge", |engine, _| engine.purge(10).wait().map(drop)),
        ("load", |_, store| Ok(store.load(&Key::new("held 0").unwrap()).wait().map(drop)?)),
        ("scan", |_, store| {
            let query = Scan::new("", None, 5);
            Ok(store.scan(query).wait().map(drop)?)
        }),
    ];
    for (what, read) in reads {
        let (engine, store) = (Arc::clone(&engine), Arc::clone(&store));
        calls.push((what, begin(move || read(&engine, &store))));
    }
    let waiting = Arc::clone(&engine);
    calls.push(("wait", begin(move || waiting.wait_for("held 0", HOUR).wait().map(drop))));
    for (what, call) in &calls {
        let error = end(what, call).expect_err(what);
        assert!(is_outage(&error), "{what}: {error}");
        let is_write = ["acquire", "complete"].contains(what);
        assert!(is_write || error.kind() == ErrorKind::Unavailable, "{what} changes nothing: {error}");
    }
    // The time is known without the server.
    assert!(store.now().wait().is_ok());

    server.signal("-CONT");
    for i in 0..EACH {
        let key = format!("new {i}");
        let again = retry_while_down(|| engine.acquire(&key).lease_id(ids[i]).wait());
        assert!(matches!(&again, Acquisition::Acquired(lease) if lease.attempt() == 1), "{again:?}");
        retry_while_down(|| leases[i].complete(&i).wait());
        assert_eq!(record(&store, &key).unwrap().version().as_u64(), 1);
        assert_eq!(record(&store, &format!("held {i}")).unwrap().version().as_u64(), 2);
    }
}

#[test]
fn a_server_busy_beyond_the_deadline_is_unavailable_only_meanwhile() {
    if !support::is_available() {
        return;
    }
    let server = Arc::new(Server::start(&["--enable-debug-command", "yes"]));
    let prefix = support::prefix();
    let engine = Engine::new(Arc::new(open_with_short_deadline(&server, &prefix))).unwrap();
    let held = lease(engine.acquire("held").wait());
    // While the server sleeps, it replies to no call, and each call has to end before the server
    // wakes up. One success is enough, in case that this machine is suspended as well.
    let is_ended_early = (0..5).any(|_| {
        let sleeping = Arc::clone(&server);
        let slept = begin(move || sleeping.command(&["DEBUG", "SLEEP", "1"]));
        loop {
            let answer = held.extend(HOUR).wait();
            let is_awake = slept.try_recv();
            match answer {
                Err(error) => assert!(is_outage(&error), "{error}"),
                // Calls may be answered until the server sleeps.
                Ok(_) if is_awake.is_err() => continue,
                Ok(_) => return false,
            }
            let answer = is_awake.unwrap_or_else(|_| end("it wakes up", &slept));
            assert_eq!(answer, "+OK");
            return true;
        }
    });
    assert!(is_ended_early, "no call ended before its answer came");
    retry_while_down(|| held.complete("done").wait());
    assert_eq!(
        retry_while_down(|| engine.result("held").wait()).unwrap().result::<String>().unwrap(),
        "done"
    );
}

/// Replies arrive in order, so a late one delays all later ones.
#[test]
fn p6_no_request_follows_one_whose_reply_is_late_on_the_same_connection() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = open_with_short_deadline(&server, &prefix);
    let grant = || granted(now(&store)).0;
    server.signal("-STOP");
    let first = put(&store, "first", &grant());
    assert!(matches!(first, Err(StoreError::Indeterminate(_))), "the write may still be executed: {first:?}");
    let second = put(&store, "second", &grant());
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "the write was not sent: {second:?}");
    server.signal("-CONT");
    eventually("the store reconnects", || is_there(&store, "first").is_ok());
    assert!(is_there(&store, "first").unwrap(), "the request that had arrived was executed");
    assert!(!is_there(&store, "second").unwrap());
    assert!(matches!(put(&store, "second", &grant()), Ok(CasResult::Written)));
}

#[test]
fn a_server_that_is_down_or_hangs_from_the_start_is_a_clear_error() {
    if !support::is_available() {
        return;
    }
    let mut server = Server::volatile();
    let open = |server: &Server| {
        let deadline = Duration::from_millis(300);
        let opened = open_with(server, "app", |settings| settings.deadline = deadline);
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let place = format!("127.0.0.1:{}", server.port);
        assert!(error.to_string().contains(&place), "the error names the server: {error}");
        error.to_string()
    };
    server.signal("-STOP");
    let error = open(&server);
    assert!(error.contains("did not reply in time"), "{error}");
    server.kill();
    let error = open(&server);
    assert!(error.contains("connection refused"), "{error}");
    server.restart();
    support::open(&server, "app");
}

#[test]
fn a_server_that_is_loading_is_a_clear_error_and_then_returns_its_data() {
    if !support::is_available() {
        return;
    }
    let prefix = support::prefix();
    let mut server = slowly_loading(&prefix);
    let engine = Engine::new(Arc::new(open_with_short_deadline(&server, &prefix))).unwrap();
    assert_eq!(server.command(&["SAVE"]), "+OK");
    server.kill();
    let restarted = begin(move || {
        server.restart();
        server
    });
    let mut was_loading = false;
    eventually("the server has loaded", || {
        match engine.acquire("key 0").wait() {
            Ok(Acquisition::Completed(view)) => return view.result::<String>().unwrap().len() == 2000,
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(is_outage(&error), "{error}");
                was_loading |= error.to_string().contains("is still loading its data");
            }
        }
        false
    });
    assert!(was_loading, "no call met a server that was loading");
    for i in 0..SLOWLY_LOADED {
        assert_eq!(engine.status(&format!("key {i}")).wait().unwrap().unwrap().state(), State::Completed);
    }
    drop(end("the server is started", &restarted));
}

/// Regression: 200,000 calls were made while the server was suspended, and took half a gigabyte.
#[test]
fn the_memory_of_calls_is_limited_while_the_server_hangs() {
    const MOST: usize = 64 << 10;
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = support::open(&server, &prefix);
    let key = Key::new("key").unwrap();
    let mut settings = lessor_core::Settings::default();
    settings.limits.max_result = 8 << 20;
    let engine = Engine::with_settings(Arc::new(support::open(&server, &prefix)), settings).unwrap();
    lease(engine.acquire("key").wait()).complete_bytes(&vec![0; 8 << 20]).wait().unwrap();
    let stored = record(&store, "key").unwrap();
    let change = ConditionalWrite::new(Some(&stored), &stored);
    let absent = Key::new("absent").unwrap();
    server.signal("-STOP");
    let mut calls = Vec::new();
    let refused = loop {
        let mut call = store.load(&absent);
        match smol::block_on(smol::future::poll_once(&mut call)) {
            None => calls.push(call),
            Some(answer) => break answer.unwrap_err(),
        }
        assert!(calls.len() <= MOST);
    };
    assert!(
        matches!(&refused, StoreError::Unavailable(cause) if cause.reason().contains("64 MiB")),
        "{refused:?}"
    );
    // Records count too.
    drop(calls);
    let large: Vec<_> = (0..20).map(|_| lessor_testkit::swap(&store, &key, &change)).collect();
    let refused = large.into_iter().filter_map(|call| call.try_take().ok()).count();
    assert!(refused > 10, "{refused}");
    server.signal("-CONT");
    eventually("the store is of use again", || is_there(&store, "absent").is_ok());
}

/// Regression: a write without a reply took the whole deadline, and the read that followed took as
/// long again. So each of the two has half of it.
#[test]
fn a_write_and_the_read_that_confirms_it_share_one_deadline() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store =
        open_with(&server, &prefix, |settings| settings.deadline = Duration::from_millis(600)).unwrap();
    let grant = granted(now(&store)).0;
    server.signal("-STOP");
    let write = put(&store, "key", &grant);
    assert!(
        matches!(&write, Err(StoreError::Indeterminate(cause)) if cause.reason().contains("did not reply to SET within 300ms")),
        "{write:?}"
    );
    server.signal("-CONT");
}
