//! What tests of outages have in common.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Key, Lease, Record, Store};
use lessor_redis::{Opener, RedisStore, Settings};

use crate::support::{self, Server};

/// After so long whatever has not come will never come. The environment's `LESSOR_PATIENCE` may say less, in seconds, where tests are meant
/// to fail.
fn patience() -> Duration {
    Duration::from_secs(number_from_env("LESSOR_PATIENCE", 60))
}

pub(crate) fn nap(millis: u64) {
    std::thread::park_timeout(Duration::from_millis(millis));
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..patience().as_millis() / 10 {
        if is_so() {
            return;
        }
        nap(10);
    }
    panic!("not even after {:?}: {what}", patience());
}

/// Begins `work` on a thread of its own.
pub(crate) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    done
}

/// What the work came to that was begun.
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
    Opener::new().settings(settings).open(&server.url())
}

/// With a deadline so short that a test can wait for it.
pub(crate) fn impatient(server: &Server, prefix: &str) -> RedisStore {
    open_with(server, prefix, |settings| settings.deadline = Duration::from_millis(600)).unwrap()
}

#[track_caller]
pub(crate) fn lease(acquisition: Result<Acquisition, Error>) -> Lease {
    match acquisition {
        Ok(Acquisition::Acquired(lease)) => lease,
        other => panic!("no lease: {other:?}"),
    }
}

/// Whether the server was out of reach, or not as it should be.
pub(crate) fn is_outage(error: &Error) -> bool {
    use ErrorKind::{Indeterminate, Misconfigured, Unavailable};
    matches!(error.kind(), Unavailable | Indeterminate | Misconfigured)
}

/// Again and again until the server is there, which is all that may be in the way.
#[track_caller]
pub(crate) fn insist<T>(mut ask: impl FnMut() -> Result<T, Error>) -> T {
    for _ in 0..patience().as_millis() / 10 {
        match ask() {
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

/// Commands on one connection, each answered with a line; what the last one was answered.
pub(crate) fn talk(server: &Server, commands: &[&[&str]]) -> String {
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

/// A command as a user who has to say a password first.
pub(crate) fn say_as(server: &Server, user: &str, password: &str, words: &[&str]) -> String {
    talk(server, &[&["AUTH", user, password], words])
}

/// How many records a server has that takes its time to load them, about 2 s.
pub(crate) const SLOWLY_LOADED: usize = 100;

/// It answers meanwhile, though only that it is loading.
pub(crate) fn slowly_loading(prefix: &str) -> Server {
    let slow = [
        ["--key-load-delay", "20000"],
        ["--loading-process-events-interval-bytes", "1024"],
        ["--rdbcompression", "no"],
    ];
    let server = Server::start(&slow.concat());
    let engine = Engine::new(Arc::new(support::open(&server, prefix))).unwrap();
    for i in 0..SLOWLY_LOADED {
        // Large enough that the server looks up from its loading after each.
        lease(engine.acquire(&format!("key {i}")).wait()).complete(&"x".repeat(2000)).wait().unwrap();
    }
    server
}
