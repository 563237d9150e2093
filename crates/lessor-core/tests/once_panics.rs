//! Panics of the caller's code in `once`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_lite::future;
use lessor_core::{Engine, Lease, OnceError};
use lessor_memory::MemoryStore;
use serde::{Deserialize, Serialize, Serializer};

fn engine() -> Engine {
    Engine::new(Arc::new(MemoryStore::new())).unwrap()
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in Deserialize")
    }
}

/// A value that panics when it is deserialized or dropped.
#[derive(Serialize)]
struct Fragile {
    when_read: bool,
    #[serde(skip)]
    when_dropped: bool,
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            when_read: bool,
        }
        let Plain { when_read } = Plain::deserialize(from)?;
        assert!(!when_read, "in Deserialize");
        Ok(Self { when_read, when_dropped: true })
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.when_dropped || std::thread::panicking(), "in Drop");
    }
}

/// A value that panics while it is serialized, and when it is dropped after that.
struct Worst;

impl Serialize for Worst {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

impl<'de> Deserialize<'de> for Worst {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        panic!("in Drop");
    }
}

fn panics(engine: &Engine, key: &str, run: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(run));
    assert!(panic.is_err(), "{key}: the panic does not go on");
    let again = engine.once(key).run(|_| -> Result<String, String> { panic!("the work runs again") });
    assert!(matches!(again, Err(OnceError::Failed(view)) if view.error_code() == Some("panicked")), "{key}");
}

/// Only a panic of the closure, or of the future while it was polled, was stored. After one in the
/// `Serialize` of the value or the error, or before the future existed, the work ran again.
#[test]
fn a_panic_anywhere_in_the_callers_code_is_stored_and_propagated() {
    let engine = engine();
    panics(&engine, "closure", || {
        drop(engine.once("closure").run(|_| -> Result<(), String> { panic!("closure") }));
    });
    panics(&engine, "serialize", || drop(engine.once("serialize").run(|_| Ok::<_, String>(Panics))));
    panics(&engine, "error", || drop(engine.once("error").run(|_| Err::<(), _>(Panics))));
    let classify = |_: &String| panic!("in classify");
    panics(&engine, "class", || {
        drop(engine.once("class").classify(classify).run(|_| Err::<(), _>(String::new())));
    });
    let fragile = |when_read| Ok::<_, String>(Fragile { when_read, when_dropped: false });
    panics(&engine, "read", || drop(engine.once("read").run(|_| fragile(true))));
    panics(&engine, "drop", || drop(engine.once("drop").run(|_| fragile(false))));
    panics(&engine, "worst", || drop(engine.once("worst").run(|_| Ok::<_, String>(Worst))));
}

/// Panics before it returns a future.
fn no_future(_: &Lease) -> future::Ready<Result<(), String>> {
    panic!("before there is a future")
}

#[test]
fn a_panic_anywhere_in_async_work_is_stored_and_propagated() {
    let engine = engine();
    panics(&engine, "call", || drop(future::block_on(engine.once("call").run_async(no_future))));
    panics(&engine, "poll", || {
        let work = engine.once("poll").run_async(async |_| -> Result<(), String> { panic!("in poll") });
        drop(future::block_on(work));
    });
    panics(&engine, "serialize", || {
        drop(future::block_on(engine.once("serialize").run_async(async |_| Ok::<_, String>(Panics))));
    });
    panics(&engine, "error", || {
        drop(future::block_on(engine.once("error").run_async(async |_| Err::<(), _>(Panics))));
    });
}
