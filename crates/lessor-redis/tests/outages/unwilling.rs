//! The server is reachable, but has lost its scripts or has no memory left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lessor_core::{Acquisition, Engine, Error, Store, StoreError};

use crate::HOUR;
use crate::support::{self, Server};
use crate::tools::{begin, end, lease, record};

#[test]
fn a_server_that_loses_its_scripts_before_every_operation_does_no_harm() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let flush = || assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
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
    // The same under load.
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
                server.command(&["SCRIPT", "FLUSH"]);
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
fn a_full_server_is_a_clear_error_changes_nothing_and_recovers_with_more_memory() {
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = Arc::new(support::open(&server, &prefix));
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let held = lease(engine.acquire("held").wait());
    lease(engine.acquire("finished").wait()).complete("long ago").wait().unwrap();
    let before = record(&store, "held").unwrap().encode();
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK");
    // With the scripts known to the server, and without.
    for _ in 0..2 {
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
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
            assert!(matches!(error, Error::Store(StoreError::Full(_))), "{error}");
            assert!(error.to_string().contains("maxmemory"), "{error}");
        }
        // Reads, listings and purges work, and so do refusals and replays.
        assert!(record(&store, "new").is_none());
        assert_eq!(record(&store, "held").unwrap().encode(), before);
        assert!(matches!(engine.acquire("held").wait().unwrap(), Acquisition::InProgress(_)));
        assert!(matches!(engine.acquire("finished").wait().unwrap(), Acquisition::Completed(_)));
        assert_eq!(engine.list().limit(10).wait().unwrap().entries.len(), 2);
        assert_eq!(engine.purge(10).wait().unwrap(), 0);
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
    }
    held.complete("done").wait().unwrap();
    assert_eq!(lease(engine.acquire("new").wait()).attempt(), 1);
}

/// Regression: each call of a purge began at the first name again, so purging many records visited
/// all names as many times.
#[test]
fn a_purge_in_many_calls_visits_each_name_about_once() {
    const RECORDS: u64 = 5_000;
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let store = support::open(&server, &prefix);
    let fill =
        "for i = 1, tonumber(ARGV[1]) do redis.call('SET', KEYS[1] .. i, 'x', 'EX', ARGV[2]) end return 1";
    let name = format!("{prefix}:");
    // The server would expire half of the records within the hour, so they are due.
    assert_eq!(
        server.command(&["EVAL", fill, "1", &format!("{name}over "), &RECORDS.to_string(), "1000"]),
        ":1"
    );
    assert_eq!(
        server.command(&["EVAL", fill, "1", &format!("{name}live "), &RECORDS.to_string(), "90000"]),
        ":1"
    );
    let before = server.calls(&["pexpiretime"]);
    let (mut dropped, mut calls) = (0, 0);
    while dropped < RECORDS {
        let purged = store.purge(100).wait().unwrap();
        assert!(purged.dropped <= 100);
        dropped += u64::try_from(purged.dropped).unwrap();
        calls += 1;
        assert!(purged.more || dropped == RECORDS, "{dropped} of {RECORDS} in {calls} calls");
    }
    // One command when a name is visited, and one more when it is dropped. A server may return a
    // name twice while it resizes its table.
    let looks = server.calls(&["pexpiretime"]) - before;
    assert!(looks <= 2 * (2 * RECORDS + RECORDS), "{looks}");
    assert_eq!(server.command(&["DBSIZE"]), format!(":{RECORDS}"));
}
