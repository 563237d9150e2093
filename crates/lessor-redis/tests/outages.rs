//! What the Redis store does while its server is killed, hangs, forgets, is full, or becomes another one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lessor_core::store::Scan;
use lessor_core::{
    Acquisition, Engine, Error, ErrorKind, Key, Lease, LeaseId, State, Store, StoreError, Token,
};
use lessor_redis::RedisStore;
use support::Server;
use tap::Tap;
use tools::{
    SLOWLY_LOADED, begin, end, eventually, impatient, insist, is_outage, lease, nap, number_from_env,
    open_with, record, slowly_loading,
};

mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

const HOUR: Duration = Duration::from_secs(3600);

/// Token and holder, and the result that was acknowledged.
type Grant = (Token, LeaseId, Option<String>);

type Read = fn(&Engine, &RedisStore) -> Result<(), Error>;

/// What the load on a server was told.
#[derive(Default)]
struct Told {
    /// By key.
    grants: Mutex<HashMap<String, Grant>>,
    replays: AtomicU64,
    errors: AtomicU64,
}

impl Told {
    /// One key: acquires it, insisting on an answer by sending the same again, and completes it if it is told to.
    fn work(&self, engine: &Engine, key: &str, me: &str, completes: bool) {
        let lease_id = LeaseId::random().unwrap();
        let tried = |error: &Error| {
            assert!(is_outage(error), "{error}");
            self.errors.fetch_add(1, Ordering::Relaxed);
        };
        let acquired = insist(|| engine.acquire(key).lease_id(lease_id).ttl(HOUR).wait().inspect_err(tried));
        match acquired {
            Acquisition::Acquired(lease) => {
                let former =
                    self.grants.lock().unwrap().insert(key.to_owned(), (lease.token(), lease_id, None));
                assert!(former.is_none(), "{key} was granted twice");
                assert_eq!(lease.attempt(), 1, "{key}");
                if completes {
                    let result = format!("{me}'s result of {key}");
                    insist(|| lease.complete(&result).wait().inspect_err(tried));
                    if let Some(grant) = self.grants.lock().unwrap().get_mut(key) {
                        grant.2 = Some(result);
                    }
                } else {
                    // Kept: a lease that is dropped is given up.
                    std::mem::forget(lease);
                }
            }
            Acquisition::Completed(view) => {
                let result: String = view.result().unwrap();
                assert!(result.ends_with(&format!("result of {key}")), "{key} has another one's result");
                self.replays.fetch_add(1, Ordering::Relaxed);
            }
            Acquisition::InProgress(_) => {}
            other => panic!("{key}: {other:?}"),
        }
    }

    /// Compares with what a store shows that was opened anew.
    fn compare(&self, store: &RedisStore) -> (usize, usize) {
        let grants = self.grants.lock().unwrap();
        for (key, (token, lease_id, result)) in &*grants {
            let record = record(store, key).unwrap_or_else(|| panic!("the grant of {key} is lost"));
            assert_eq!(record.token(), *token, "{key}");
            assert!(record.is_held_by(lease_id), "{key} is somebody else's");
            let writes = 1 + u64::from(result.is_some());
            assert_eq!(record.version().as_u64(), writes, "{key} was written more than once per operation");
            if let Some(result) = result {
                let seen = store.load(&Key::new(key).unwrap()).wait().unwrap();
                let view = lessor_core::View::of(&record, seen.now).unwrap();
                assert_eq!(view.result::<String>().unwrap(), *result, "{key}");
            }
        }
        (grants.len(), grants.values().filter(|grant| grant.2.is_some()).count())
    }
}

#[test]
fn p5_nothing_acknowledged_is_lost_when_the_server_is_killed_again_and_again() {
    const THREADS: usize = 6;
    if !support::is_there() {
        return;
    }
    let rounds = number_from_env("LESSOR_OUTAGES", 5);
    let (mut server, prefix) = (Server::durable(), support::prefix());
    let told = Arc::new(Told::default());
    let over = Arc::new(AtomicBool::new(false));
    // Two stores, with two engines, as of two processes.
    let taps: Vec<Tap> = (0..2).map(|_| Tap::new(&Arc::new(support::open(&server, &prefix)))).collect();
    let engines: Vec<Arc<Engine>> =
        taps.iter().map(|tap| Arc::new(Engine::new(Arc::new(tap.clone())).unwrap())).collect();
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, told, over) =
                (Arc::clone(&engines[thread % 2]), Arc::clone(&told), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    // One that all are after, and one of its own.
                    told.work(&engine, &format!("shared {round}"), &me, !round.is_multiple_of(3));
                    told.work(&engine, &format!("own {thread} {round}"), &me, !round.is_multiple_of(5));
                }
            })
        })
        .collect();
    for round in 0..rounds {
        nap(30 + round * 37 % 200);
        server.start_again();
        // Somebody got through.
        let before = told.grants.lock().unwrap().len();
        eventually("the stores reconnect", || told.grants.lock().unwrap().len() > before + THREADS);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    server.start_again();
    let (grants, completions) = told.compare(&support::open(&server, &prefix));
    let doubts: u64 = taps.iter().map(Tap::doubts).sum();
    println!(
        "{rounds} kills: {grants} grants and {completions} completions acknowledged and there, {} replays, {} errors, \
         {doubts} doubtful writes",
        told.replays.load(Ordering::Relaxed),
        told.errors.load(Ordering::Relaxed),
    );
}

/// Does one operation while the server hangs; it wakes once the write is in doubt. Returns how many were in doubt.
fn in_doubt<T: Send + 'static>(
    server: &Arc<Server>,
    prefix: &str,
    prepare: impl FnOnce(&Engine) -> Option<Lease>,
    operate: impl FnOnce(&Engine, Option<Lease>) -> T + Send + 'static,
) -> T {
    let store = Arc::new(impatient(server, prefix));
    let waking = Arc::clone(server);
    let tap = Tap::new(&store).on_doubt(move || waking.signal("-CONT"));
    let engine = Engine::new(Arc::new(tap.clone())).unwrap();
    let prepared = prepare(&engine);
    server.signal("-STOP");
    let answer = end("an operation on a server that hangs", &begin(move || operate(&engine, prepared)));
    server.signal("-CONT");
    assert!(tap.doubts() > 0, "nothing was in doubt");
    answer
}

#[test]
fn p6_a_write_that_took_effect_without_an_answer_is_recognised() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Arc::new(Server::volatile()), support::prefix());
    let store = support::open(&server, &prefix);
    let version = |key: &str| record(&store, key).unwrap().version().as_u64();
    let grant = |key: &'static str| move |engine: &Engine| Some(lease(engine.acquire(key).wait()));

    let granted =
        in_doubt(&server, &prefix, |_| None, |engine, _| insist(|| engine.acquire("acquire").wait()));
    assert!(matches!(granted, Acquisition::Acquired(_)), "{granted:?}");
    assert_eq!(version("acquire"), 1);

    in_doubt(&server, &prefix, grant("complete"), |_, lease| {
        insist(|| lease.as_ref().unwrap().complete("done").wait());
    });
    assert_eq!((version("complete"), record(&store, "complete").unwrap().attempt()), (2, 1));

    in_doubt(&server, &prefix, grant("fail"), |_, lease| {
        insist(|| lease.as_ref().unwrap().fail("broken").wait());
    });
    assert_eq!(version("fail"), 2);

    in_doubt(&server, &prefix, grant("release"), |_, lease| {
        insist(|| lease.as_ref().unwrap().release().wait());
    });
    assert_eq!(version("release"), 2);
}

#[test]
fn every_call_to_a_server_that_hangs_ends_and_afterwards_nothing_was_done_twice() {
    const EACH: usize = 8;
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(impatient(&server, &prefix));
    let engine = Arc::new(Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap());
    let leases: Vec<Arc<Lease>> =
        (0..EACH).map(|i| Arc::new(lease(engine.acquire(&format!("held {i}")).wait()))).collect();
    let ids: Vec<LeaseId> = (0..EACH).map(|_| LeaseId::random().unwrap()).collect();

    server.signal("-STOP");
    // Each ends though the server never answers: it goes on only after the last.
    let mut calls = Vec::new();
    for i in 0..EACH {
        let (e, id) = (Arc::clone(&engine), ids[i]);
        calls.push(("acquire", begin(move || e.acquire(&format!("new {i}")).lease_id(id).wait().map(drop))));
        let lease = Arc::clone(&leases[i]);
        calls.push(("complete", begin(move || lease.complete(&i).wait().map(drop))));
    }
    let reads: [(&str, Read); 5] = [
        ("status", |engine, _| engine.status("held 0").wait().map(drop)),
        ("list", |engine, _| engine.list("held", None, 10).wait().map(drop)),
        ("purge", |engine, _| engine.purge(10).wait().map(drop)),
        ("load", |_, store| Ok(store.load(&Key::new("held 0").unwrap()).wait().map(drop)?)),
        ("scan", |_, store| {
            let query = Scan { prefix: String::new(), after: None, limit: 5 };
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
    // Time is known without the server.
    assert!(store.now().wait().is_ok());

    server.signal("-CONT");
    for i in 0..EACH {
        let key = format!("new {i}");
        let again = insist(|| engine.acquire(&key).lease_id(ids[i]).wait());
        assert!(matches!(&again, Acquisition::Acquired(lease) if lease.attempt() == 1), "{again:?}");
        insist(|| leases[i].complete(&i).wait());
        assert_eq!(record(&store, &key).unwrap().version().as_u64(), 1);
        assert_eq!(record(&store, &format!("held {i}")).unwrap().version().as_u64(), 2);
    }
}

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

#[test]
fn a_server_that_forgets_its_scripts_before_every_operation_does_not_matter() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let flush = || assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "+OK");
    for i in 0..20 {
        let key = format!("key {i}");
        flush();
        let held = lease(engine.acquire(&key).wait());
        flush();
        held.extend(HOUR).wait().unwrap();
        flush();
        held.checkpoint(&i).wait().unwrap();
        flush();
        assert!(matches!(engine.acquire(&key).wait().unwrap(), Acquisition::InProgress(_)));
        flush();
        held.complete(&i).wait().unwrap();
        flush();
        assert_eq!(engine.result(&key).wait().unwrap().unwrap().result::<i32>().unwrap(), i);
        flush();
        assert_eq!(record(&store, &key).unwrap().version().as_u64(), 4);
        flush();
        assert!(engine.forget(&key).wait().unwrap());
    }
    // Under load as well.
    let (engine, over) = (Arc::new(engine), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..4)
        .map(|thread| {
            let engine = Arc::clone(&engine);
            begin(move || {
                for i in 0..100 {
                    let held = lease(engine.acquire(&format!("load {thread} {i}")).wait());
                    held.extend(HOUR).wait().unwrap();
                    held.complete(&i).wait().unwrap();
                }
            })
        })
        .collect();
    let flushing = thread::scope(|scope| {
        let (over, server) = (&over, &server);
        let flushing = scope.spawn(move || {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) {
                server.say(&["SCRIPT", "FLUSH"]);
                count += 1;
            }
            count
        });
        workers.iter().for_each(|worker| end("a worker ends", worker));
        over.store(true, Ordering::SeqCst);
        flushing.join().unwrap()
    });
    println!("1200 operations, and the scripts were flushed {flushing} times meanwhile");
}

#[test]
fn connections_that_are_cut_again_and_again_lose_nothing_and_double_nothing() {
    const THREADS: usize = 4;
    if !support::is_there() {
        return;
    }
    let cuts = number_from_env("LESSOR_OUTAGES", 5) * 20;
    let (server, prefix) = (Server::volatile(), support::prefix());
    let (told, over) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let tap = Tap::new(&Arc::new(support::open(&server, &prefix)));
    let engine = Arc::new(Engine::new(Arc::new(tap.clone())).unwrap());
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, told, over) = (Arc::clone(&engine), Arc::clone(&told), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    told.work(&engine, &format!("shared {round}"), &me, true);
                    told.work(&engine, &format!("own {thread} {round}"), &me, true);
                }
            })
        })
        .collect();
    for cut in 0..cuts {
        nap(cut * 7 % 30);
        server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    let (grants, completions) = told.compare(&support::open(&server, &prefix));
    println!(
        "{cuts} cuts: {grants} grants and {completions} completions, {} errors, {} doubtful writes",
        told.errors.load(Ordering::Relaxed),
        tap.doubts(),
    );
}

#[test]
fn a_full_server_says_so_changes_nothing_and_goes_on_with_more_memory() {
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let held = lease(engine.acquire("held").wait());
    lease(engine.acquire("finished").wait()).complete("long ago").wait().unwrap();
    let before = record(&store, "held").unwrap().encode();
    assert_eq!(server.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK");
    // With the scripts known to the server, and without.
    for _ in 0..2 {
        assert_eq!(server.say(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
        let errors = [
            engine.acquire("new").wait().map(drop),
            held.extend(HOUR).wait().map(drop),
            held.checkpoint("half").wait().map(drop),
            held.complete("done").wait().map(drop),
            held.release().wait().map(drop),
            engine.forget_forced("held").wait().map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Store(StoreError::Full { .. })), "{error}");
            assert!(error.to_string().contains("maxmemory"), "{error}");
        }
        // Reading, listing and purging go on, and so do refusals and replays.
        assert!(record(&store, "new").is_none());
        assert_eq!(record(&store, "held").unwrap().encode(), before);
        assert!(matches!(engine.acquire("held").wait().unwrap(), Acquisition::InProgress(_)));
        assert!(matches!(engine.acquire("finished").wait().unwrap(), Acquisition::Completed(_)));
        assert_eq!(engine.list("", None, 10).wait().unwrap().entries.len(), 2);
        assert_eq!(engine.purge(10).wait().unwrap(), 0);
        assert_eq!(server.say(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
        assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "+OK");
    }
    held.complete("done").wait().unwrap();
    assert_eq!(lease(engine.acquire("new").wait()).attempt(), 1);
}

#[test]
fn a_server_that_is_busy_for_longer_than_the_deadline_is_an_outage_and_no_more() {
    if !support::is_there() {
        return;
    }
    let server = Arc::new(Server::start(&["--enable-debug-command", "yes"]));
    let prefix = support::prefix();
    let engine = Engine::new(Arc::new(impatient(&server, &prefix))).unwrap();
    let held = lease(engine.acquire("held").wait());
    let sleeping = Arc::clone(&server);
    let slept = begin(move || sleeping.say(&["DEBUG", "SLEEP", "2"]));
    // Until it sleeps, calls may be answered.
    eventually("the server sleeps", || match held.extend(HOUR).wait() {
        Ok(_) => false,
        Err(error) => is_outage(&error) || panic!("{error}"),
    });
    assert_eq!(end("it wakes up", &slept), "+OK");
    insist(|| held.complete("done").wait());
    assert_eq!(insist(|| engine.result("held").wait()).unwrap().result::<String>().unwrap(), "done");
}

#[test]
fn a_server_that_is_down_or_hangs_from_the_start_is_a_clear_error() {
    if !support::is_there() {
        return;
    }
    let mut server = Server::volatile();
    let open = |server: &Server| {
        let deadline = Duration::from_millis(300);
        let opened = open_with(server, "app", |settings| settings.deadline = deadline);
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let place = format!("127.0.0.1:{}", server.port);
        assert!(error.to_string().contains(&place), "it says where: {error}");
        error.to_string()
    };
    server.signal("-STOP");
    let error = open(&server);
    assert!(error.contains("did not answer in time"), "{error}");
    server.kill();
    let error = open(&server);
    assert!(error.contains("connection refused"), "{error}");
    server.start_again();
    support::open(&server, "app");
}

#[test]
fn a_server_that_still_loads_its_data_says_so_and_then_has_them() {
    if !support::is_there() {
        return;
    }
    let prefix = support::prefix();
    let mut server = slowly_loading(&prefix);
    let engine = Engine::new(Arc::new(impatient(&server, &prefix))).unwrap();
    assert_eq!(server.say(&["SAVE"]), "+OK");
    server.kill();
    let restarted = begin(move || {
        server.start_again();
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
