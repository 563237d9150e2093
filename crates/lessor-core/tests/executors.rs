//! The library works with any executor: the same test runs on plain threads, Tokio, smol and a
//! minimal executor, over a store that answers immediately and one that answers later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod late;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use late::late;
use lessor_core::{Acquisition, Engine, ErrorKind, OnceError, State, Store};
use lessor_memory::MemoryStore;

const SOON: Duration = Duration::from_secs(20);

/// Performs all operations of a holder, with a concurrent caller that waits for it.
async fn body(engine: Engine) {
    let Acquisition::Acquired(lease) = engine.acquire("job").ttl(SOON).await.unwrap() else { panic!() };
    assert!(matches!(engine.acquire("job").await.unwrap(), Acquisition::InProgress(_)));
    let lease = lease.keep_alive();
    lease.checkpoint(&1).await.unwrap();
    lease.extend(SOON).await.unwrap();

    let waiting = engine.wait_for("job", SOON);
    let twin = engine.once("job").run_async(async |_| Ok::<_, String>("not me".to_owned()));
    lease.complete(&"done").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().state(), State::Completed);
    let twin = twin.await.unwrap();
    assert!(twin.is_replay());
    assert_eq!(twin.into_value(), "done");

    let ran = engine.once("other").run_async(async |lease| Ok::<_, String>(lease.attempt())).await.unwrap();
    assert!(!ran.is_replay());
    let failed = engine.once("third").run_async(async |_| Err::<(), _>("no".to_owned())).await;
    assert!(matches!(failed, Err(OnceError::Work { error, .. }) if error == "no"));
    let Acquisition::Failed(view) = engine.acquire("third").await.unwrap() else { panic!() };
    assert_eq!((view.error_code(), view.failure().unwrap()), (Some("error"), Some("no".to_owned())));

    let Acquisition::Acquired(dropped) = engine.acquire("dropped").await.unwrap() else { panic!() };
    drop(dropped);
    let closed = engine.close(SOON).await.unwrap();
    assert!(closed.is_complete(), "P1: what was dropped is given up before the store is closed: {closed:?}");
    assert_eq!(engine.status("dropped").await.unwrap().unwrap().state(), State::Lapsed);
    assert_eq!(engine.acquire("late").await.unwrap_err().kind(), ErrorKind::ShutDown);
}

fn engines() -> [Engine; 2] {
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(MemoryStore::new()), Arc::new(late(Arc::new(MemoryStore::new())))];
    stores.map(|store| Engine::new(store).unwrap())
}

#[test]
fn plain_threads_need_no_executor() {
    for engine in engines() {
        let Acquisition::Acquired(lease) = engine.acquire("job").ttl(SOON).wait().unwrap() else { panic!() };
        let lease = lease.keep_alive();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| engine.wait_for("job", SOON).wait().unwrap().unwrap().state());
            let twin = scope.spawn(|| {
                engine.once("job").run(|_| Ok::<_, String>("not me".to_owned())).unwrap().into_value()
            });
            lease.extend(SOON).wait().unwrap();
            lease.complete("done").wait().unwrap();
            assert_eq!(waiting.join().unwrap(), State::Completed);
            assert_eq!(twin.join().unwrap(), "done");
        });
        futures_lite::future::block_on(body_on_fresh_keys(engine));
    }
}

/// Performs the rest of the test on new keys, with the library's `block_on`.
async fn body_on_fresh_keys(engine: Engine) {
    let ran = engine.once("other").run_async(async |lease| Ok::<_, String>(lease.attempt())).await.unwrap();
    assert_eq!(ran.into_value(), 1);
    assert!(engine.close(SOON).await.unwrap().is_complete());
}

#[test]
fn tokio_on_one_thread() {
    for engine in engines() {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(body(engine));
    }
}

#[test]
fn tokio_on_many_threads_where_every_future_is_spawned() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for engine in engines() {
        runtime.block_on(async { tokio::spawn(body(engine)).await.unwrap() });
    }
}

#[test]
fn smol() {
    for engine in engines() {
        smol::block_on(smol::spawn(body(engine)));
    }
}

#[test]
fn a_minimal_executor() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    for engine in engines() {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(body(engine));
        while future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            thread::park();
        }
    }
}
