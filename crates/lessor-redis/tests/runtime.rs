//! A store that knows the application's runtime works on it, and off it as well. Tasks of any
//! executor share one connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine};
use lessor_redis::RedisStore;
use support::Server;
use tokio::runtime::{Builder, Runtime};

fn runtime(threads: usize) -> Runtime {
    match threads {
        0 => Builder::new_current_thread().enable_all().build().unwrap(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap(),
    }
}

async fn cycles(engine: &Engine, name: &str) {
    for number in 0..20 {
        let key = format!("{name}/{number}");
        let Acquisition::Acquired(lease) = engine.acquire(&key).await.unwrap() else { panic!("{key}") };
        lease.complete_bytes(key.as_bytes()).await.unwrap();
        match engine.acquire(&key).await.unwrap() {
            Acquisition::Completed(view) => assert_eq!(view.result_bytes(), Some(key.as_bytes())),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn a_store_works_on_the_callers_runtime_off_it_and_after_it_has_ended() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    for threads in [0, 2] {
        let theirs = runtime(threads);
        let builder = RedisStore::builder().settings(support::settings(&support::prefix()));
        let store = builder.runtime(theirs.handle().clone()).open(&server.url()).unwrap();
        let engine = Engine::new(Arc::new(store)).unwrap();
        theirs.block_on(cycles(&engine, "there"));
        // The runtime is entered, but nothing drives it if it has no threads of its own.
        {
            let _entered = theirs.enter();
            smol::block_on(cycles(&engine, "entered"));
        }
        smol::block_on(cycles(&engine, "elsewhere"));
        for number in 0..20 {
            let run = engine.once(format!("thread/{number}")).run(|_| Ok::<_, String>(number));
            assert_eq!(run.unwrap().into_value(), number);
        }
        runtime(1).block_on(cycles(&engine, "another"));
        theirs.block_on(async {
            let both = [cycles(&engine, "one"), cycles(&engine, "two")];
            let [one, two] = both.map(Box::pin);
            smol::future::zip(one, two).await;
        });
        drop(theirs);
        runtime(0).block_on(cycles(&engine, "afterwards"));
        smol::block_on(cycles(&engine, "at last"));
    }
}

#[test]
#[should_panic(expected = "IO is disabled")]
fn a_runtime_without_io_is_rejected_at_once() {
    let runtime = Builder::new_current_thread().build().unwrap();
    drop(RedisStore::builder().runtime(runtime.handle().clone()));
}

#[test]
fn a_thousand_callers_share_one_connection() {
    const CALLERS: usize = 1_000;
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let mut settings = support::settings(&prefix);
    settings.deadline = Duration::from_mins(1);
    let store = RedisStore::builder().settings(settings).open(&server.url()).unwrap();
    let engine = Engine::new(Arc::new(store)).unwrap();
    // While the server is suspended, all calls are in progress at once.
    server.signal("-STOP");
    let executor = smol::Executor::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            executor.spawn(engine.acquire(&format!("key {number}")).ttl(Duration::from_hours(1)).send())
        })
        .collect();
    while executor.try_tick() {}
    server.signal("-CONT");
    smol::block_on(executor.run(async {
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Acquisition::Acquired(_)));
        }
    }));
    let clients = support::query_all(server.port, &["CLIENT", "LIST"]).concat();
    assert_eq!(clients.lines().count(), 2, "the store's connection and the test's own: {clients}");
}
