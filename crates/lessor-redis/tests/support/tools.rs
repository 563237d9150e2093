//! Helpers for tests of outages.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Key, Lease, Record, Store};
use lessor_redis::{RedisStore, Settings};

use crate::support::{self, Server};

/// Returns the time after which an event is taken never to occur. The environment variable
/// `LESSOR_PATIENCE` may set fewer seconds where tests are meant to fail.
fn patience() -> Duration {
    Duration::from_secs(number_from_env("LESSOR_PATIENCE", 60))
}

pub(crate) fn nap(millis: u64) {
    std::thread::park_timeout(Duration::from_millis(millis));
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..patience().as_millis() / 10 {
        if is_so() {
            return;
        }
        nap(10);
    }
    panic!("not even after {:?}: {what}", patience());
}

/// Starts `work` on another thread.
pub(crate) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    done
}

/// Returns the result of work that was started.
pub(crate) fn end<T>(what: &str, begun: &mpsc::Receiver<T>) -> T {
    begun.recv_timeout(patience()).unwrap_or_else(|_| panic!("not even after {:?}: {what}", patience()))
}

pub(crate) fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

pub(crate) fn open_with(
    server: &Server,
    prefix: &str,
    set: impl FnOnce(&mut Settings),
) -> Result<RedisStore, Error> {
    let mut settings = support::settings(prefix);
    set(&mut settings);
    RedisStore::builder().settings(settings).open(&server.url())
}

/// Opens a store with a deadline that is short enough for a test to wait for.
pub(crate) fn open_with_short_deadline(server: &Server, prefix: &str) -> RedisStore {
    open_with(server, prefix, |settings| settings.deadline = Duration::from_millis(600)).unwrap()
}

#[track_caller]
pub(crate) fn lease(acquisition: Result<Acquisition, Error>) -> Lease {
    match acquisition {
        Ok(Acquisition::Acquired(lease)) => lease,
        other => panic!("no lease: {other:?}"),
    }
}

/// Returns whether the server was unreachable or unsuitable.
pub(crate) fn is_outage(error: &Error) -> bool {
    use ErrorKind::{Indeterminate, Misconfigured, Unavailable};
    matches!(error.kind(), Unavailable | Indeterminate | Misconfigured)
}

/// Retries until the server is available. Any other error fails the test.
#[track_caller]
pub(crate) fn retry_while_down<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    for _ in 0..patience().as_millis() / 10 {
        match call() {
            Ok(answer) => return answer,
            Err(error) => assert!(is_outage(&error), "{error}"),
        }
        nap(10);
    }
    panic!("there was no answer in {:?}", patience());
}

pub(crate) fn record(store: &RedisStore, key: &str) -> Option<Record> {
    store.load(&Key::new(key).unwrap()).wait().unwrap().record
}

/// Sends commands on one connection, each with a reply of one line. Returns the last reply.
pub(crate) fn run_commands(server: &Server, commands: &[&[&str]]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    for words in commands {
        let mut request = format!("*{}\r\n", words.len());
        for word in *words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes()).unwrap();
    }
    let lines = BufReader::new(stream).lines().take(commands.len());
    let mut lines: Vec<String> = lines.map(Result::unwrap).collect();
    let last = lines.pop().unwrap();
    assert!(lines.iter().all(|line| line == "+OK"), "{lines:?}");
    last
}

/// Sends a command as a user who authenticates with a password.
pub(crate) fn command_as(server: &Server, user: &str, password: &str, words: &[&str]) -> String {
    run_commands(server, &[&["AUTH", user, password], words])
}

/// The number of records that a slowly loading server takes about 2 s to load.
pub(crate) const SLOWLY_LOADED: usize = 100;

/// Starts a server that is loading. It replies meanwhile, but only that it is loading.
pub(crate) fn slowly_loading(prefix: &str) -> Server {
    let slow = [
        ["--key-load-delay", "20000"],
        ["--loading-process-events-interval-bytes", "1024"],
        ["--rdbcompression", "no"],
    ];
    let server = Server::start(&slow.concat());
    let engine = Engine::new(Arc::new(support::open(&server, prefix))).unwrap();
    for i in 0..SLOWLY_LOADED {
        // Large enough that the server serves requests after loading each record.
        lease(engine.acquire(&format!("key {i}")).wait()).complete(&"x".repeat(2000)).wait().unwrap();
    }
    server
}
