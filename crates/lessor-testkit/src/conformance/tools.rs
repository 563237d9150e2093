//! Functions shared by the promises.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use lessor_core::rules::{Acquire, Command, Decision, HolderCommand, Keep, decide};
use lessor_core::store::{CasResult, ConditionalWrite, Page, Scan, Snapshot};
use lessor_core::{
    Acquisition, Engine, Error, Key, Lease, LeaseId, OnFailed, Record, Settings, Store, Timestamp, View,
};

use crate::clock::ManualClock;
use crate::environment::number_from_env;
use crate::plain::PlainStore;

/// The number of threads in a race.
pub(crate) const RACERS: usize = 8;
/// The ttl of a lease that does not lapse during a test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// The ttl of a lease that lapses during a test.
pub(crate) const SHORT: Duration = Duration::from_millis(20);
/// A time that is longer than [`SHORT`] even for a store whose `now` is a little ahead.
pub(crate) const OUTLIVE: Duration = Duration::from_millis(40);

/// Returns the time after which a wake-up counts as lost: `LESSOR_PATIENCE` in seconds, by default 60.
fn patience() -> Duration {
    Duration::from_secs(number_from_env("LESSOR_PATIENCE", 60).into())
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn lease_id() -> LeaseId {
    LeaseId::random().unwrap()
}

fn written(record: Option<&Record>, command: &Command, now: Timestamp, keep: impl Into<Keep>) -> Record {
    match decide(record, command, now, keep) {
        Decision::Write(change, _) => change.next,
        other => panic!("the kit's own record could not be made: {other:?}"),
    }
}

/// Returns a record of a grant for `ttl` made at `now`, and its lease id.
pub(crate) fn granted(now: Timestamp, ttl: Duration) -> (Record, LeaseId) {
    let lease_id = lease_id();
    let acquire = Acquire::new(lease_id, ttl);
    (written(None, &Command::Acquire(acquire), now, LONG), lease_id)
}

/// Returns a record of a new grant.
pub(crate) fn some(now: Timestamp) -> Record {
    granted(now, LONG).0
}

/// Returns a later version of the record, with the same grant and history.
pub(crate) fn changed(record: &Record, lease_id: LeaseId, now: Timestamp) -> Record {
    let longer = record.expires_at().saturating_since(now) + Duration::from_secs(1);
    written(
        Some(record),
        &Command::Holder(lease_id, HolderCommand::Extend { ttl: longer }),
        now,
        Keep::new(LONG, 0),
    )
}

/// Returns a record that was released at `at` and is kept for `retention`.
pub(crate) fn released(at: Timestamp, retention: Duration) -> Record {
    let (record, lease_id) = granted(at, LONG);
    written(Some(&record), &Command::Holder(lease_id, HolderCommand::Release), at, retention)
}

/// Returns the tombstone of a grant made at `token_at` and forgotten at `at`.
pub(crate) fn forgotten(token_at: Timestamp, at: Timestamp) -> Record {
    written(Some(&granted(token_at, LONG).0), &Command::Forget { force: true }, at, LONG)
}

/// Returns a record whose retention has ended.
pub(crate) fn due(now: Timestamp) -> Record {
    released(now.saturating_sub(Duration::from_secs(3600)), Duration::from_secs(1))
}

/// Returns records of every stage, with all the fields that a record can have.
pub(crate) fn variety(now: Timestamp, result: &[u8]) -> Vec<Record> {
    let clock = ManualClock::starting_at(now);
    let store = std::sync::Arc::new(lessor_core::Cas::new(PlainStore::new(clock)));
    let mut settings = Settings::default();
    settings.limits.max_result = settings.limits.max_result.max(result.len());
    let engine = Engine::with_settings(store.clone(), settings).unwrap();
    let mut records = Vec::new();
    let mut note = || records.push(stored(&*store, "k").unwrap());
    let lease = take(engine.acquire("k").ttl(SHORT).holder("first \u{1F980} holder"));
    note();
    lease.checkpoint_bytes(&[0, 255, 10, 13, 0]).wait().unwrap();
    note();
    drop(lease);
    assert!(engine.close(patience()).wait().unwrap().gave_up);
    note();
    let engine = Engine::new(store.clone()).unwrap();
    let lease = take(engine.acquire("k").fingerprint("request").metadata(&[("a", "é\"\n")].into_map()));
    note();
    lease.release().wait().unwrap();
    note();
    let lease = take(engine.acquire("k"));
    lease.fail_with("code: \u{1F4A5}", "a detail\nof two lines").wait().unwrap();
    note();
    let retry = OnFailed::Retry { max_attempts: 9, backoff: lessor_core::Backoff::NONE };
    let lease = take(engine.acquire("k").on_failed(retry));
    lease.complete_bytes_as(result, Some("the caller's word")).wait().unwrap();
    note();
    engine.forget("k").wait().unwrap();
    note();
    records
}

trait IntoMap {
    fn into_map(self) -> std::collections::BTreeMap<&'static str, &'static str>;
}

impl<const N: usize> IntoMap for [(&'static str, &'static str); N] {
    fn into_map(self) -> std::collections::BTreeMap<&'static str, &'static str> {
        self.into()
    }
}

pub(crate) fn load(store: &dyn Store, key: &Key) -> Snapshot {
    store.load(key).wait().expect("the store can be read")
}

/// Returns the record under `key`.
pub(crate) fn stored(store: &dyn Store, text: &str) -> Option<Record> {
    load(store, &key(text)).record
}

/// Returns the record in encoded form.
pub(crate) fn bytes(store: &dyn Store, text: &str) -> Option<Vec<u8>> {
    stored(store, text).map(|record| record.encode())
}

pub(crate) fn change<'a>(expected: Option<&'a Record>, next: &'a Record) -> ConditionalWrite<'a> {
    ConditionalWrite::new(expected, next)
}

pub(crate) fn swap(store: &dyn Store, key: &Key, change: ConditionalWrite<'_>) -> CasResult {
    crate::retrying::swap(store, key, &change).wait().expect("the store can be written")
}

/// Writes a record that may be old. If a store rejects it because its token may be below a purged
/// one, a current record is written first and then replaced.
pub(crate) fn swap_in(store: &dyn Store, key: &Key, old: Option<&Record>, record: &Record) -> CasResult {
    match (old, swap(store, key, change(old, record))) {
        (None, CasResult::Rejected(seen)) => {
            let first = some(seen.now);
            match swap(store, key, change(None, &first)) {
                CasResult::Written => swap(store, key, change(Some(&first), record)),
                other => other,
            }
        }
        (_, swap) => swap,
    }
}

/// Writes a record under a key without one.
pub(crate) fn put(store: &dyn Store, key: &Key, record: &Record) {
    let swap = swap_in(store, key, None, record);
    assert!(matches!(swap, CasResult::Written), "a record was rejected under the new key {key:?}: {swap:?}");
}

/// Returns the snapshot of a conflict.
pub(crate) fn conflict(swap: CasResult) -> Snapshot {
    match swap {
        CasResult::Conflict(seen) => seen,
        other => panic!("expected a conflict, not {other:?}"),
    }
}

pub(crate) fn out_of_window(swap: CasResult) -> Snapshot {
    match swap {
        CasResult::Rejected(seen) => seen,
        other => panic!("expected a rejection because of the window, not {other:?}"),
    }
}

pub(crate) fn page(store: &dyn Store, prefix: &str, after: Option<Key>, limit: usize) -> Page {
    store.scan(Scan::new(prefix, after, limit)).wait().expect("the store can be listed")
}

/// Returns all entries, page by page.
pub(crate) fn list(store: &dyn Store, prefix: &str, limit: usize) -> Vec<(Key, Record)> {
    let mut entries = Vec::new();
    let mut after = None;
    for _ in 0..10_000 {
        let page = page(store, prefix, after, limit);
        assert!(page.entries.len() <= limit, "a page of {} for a limit of {limit}", page.entries.len());
        entries.extend(page.entries);
        match page.next {
            None => return entries,
            next => after = next,
        }
    }
    panic!("the listing has no end");
}

/// Purges until nothing is due.
pub(crate) fn purge_all(store: &dyn Store) {
    while store.purge(1000).wait().expect("the store can be purged").more {}
}

pub(crate) fn take(request: lessor_core::AcquireRequest<'_>) -> Lease {
    match request.wait().expect("the key can be acquired") {
        Acquisition::Acquired(lease) => lease,
        other => panic!("expected a granted lease, not {other:?}"),
    }
}

/// Returns the view of an acquire that is not granted.
pub(crate) fn refused(request: lessor_core::AcquireRequest<'_>) -> View {
    match request.wait().expect("the key can be asked for") {
        Acquisition::Acquired(lease) => panic!("the lease was granted twice: {lease:?}"),
        Acquisition::InProgress(view)
        | Acquisition::Completed(view)
        | Acquisition::Failed(view)
        | Acquisition::InDoubt(view) => view,
        other => panic!("the acquire was answered with {other:?}"),
    }
}

pub(crate) fn status(engine: &Engine, key: &str) -> View {
    engine.status(key).wait().expect("the key can be looked up").expect("there is a record")
}

pub(crate) fn refusal<T>(answer: Result<T, Error>) -> Error {
    match answer {
        Ok(_) => panic!("expected a refusal"),
        Err(error) => error,
    }
}

/// Runs `racer` on many threads that start together, and returns their results.
pub(crate) fn race<T: Send>(racers: usize, racer: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(racers);
    thread::scope(|scope| {
        let (start, racer) = (&start, &racer);
        let run = move |number| {
            start.wait();
            racer(number)
        };
        let threads: Vec<_> = (0..racers).map(|number| scope.spawn(move || run(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a racing thread")).collect()
    })
}

/// Runs `what` on another thread, so that a test that hangs can report where.
pub(crate) fn in_background<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> mpsc::Receiver<T> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(what()));
    receive
}

pub(crate) fn within_patience<T>(what: &str, answer: &mpsc::Receiver<T>) -> T {
    answer.recv_timeout(patience()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Polls until `done` returns true.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let pause = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    while !done() {
        assert!(waited < patience(), "it never happened: {what}");
        crate::subject::sleep(pause);
        waited += pause;
    }
}

/// The highest number that any thread has set.
#[derive(Default)]
pub(crate) struct High(AtomicU64);

impl High {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    pub(crate) fn raise(&self, to: u64) {
        self.0.fetch_max(to, Ordering::SeqCst);
    }
}
