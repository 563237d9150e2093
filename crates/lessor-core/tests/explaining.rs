//! What observers see of a key beside its state: checkpoints, explanations and listings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lessor_core::store::{
    ChangeNotifier, Closing, Execution, Operation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{
    Acquisition, Backoff, Durability, Engine, Error, Key, Lease, OnFailed, OnLapsed, Pending, State, Store,
    Timestamp, WaitsFor,
};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const MINUTE: Duration = Duration::from_secs(60);

fn engine() -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    clock.set(Timestamp::from_micros(1_767_225_600_000_000).unwrap());
    (Engine::new(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())))).unwrap(), clock)
}

fn take(engine: &Engine, holder: &str) -> Lease {
    let retry = OnFailed::Retry { max_attempts: 9, backoff: Backoff::NONE };
    let ask = engine.acquire("key").ttl(MINUTE).holder(holder);
    match ask.on_failed(retry).on_lapsed(OnLapsed::Reconcile).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn explained(engine: &Engine) -> String {
    engine.explain("key").wait().unwrap().to_string()
}

#[test]
fn an_observer_sees_the_latest_checkpoint() {
    let (engine, _) = engine();
    let lease = take(&engine, "host-1");
    let view = || engine.status("key").wait().unwrap().unwrap();
    assert_eq!((view().checkpoint::<u32>().unwrap(), view().checkpoint_bytes()), (None, None));
    lease.checkpoint(&6).wait().unwrap();
    lease.checkpoint(&7).wait().unwrap();
    assert_eq!((view().checkpoint::<u32>().unwrap(), view().checkpoint_bytes()), (Some(7), Some(&b"7"[..])));
    assert!(matches!(view().checkpoint::<String>(), Err(Error::Json(_))));
    let shown = serde_json::to_value(view()).unwrap();
    assert!(shown.get("checkpoint").is_none() && shown["history"].as_array().unwrap().len() == 2, "{shown}");
    lease.complete(&1).wait().unwrap();
    assert_eq!(view().checkpoint_bytes(), None);
}

#[test]
fn an_explanation_tells_the_state_and_what_the_key_waits_for() {
    let (engine, clock) = engine();
    assert_eq!(explained(&engine), "The key \"key\" has no record.\nThe next caller acquires it.");
    let lease = take(&engine, "host-1");
    clock.advance(MINUTE / 4);
    assert_eq!(
        explained(&engine),
        "The key \"key\" is in progress, since 2026-01-01T00:00:00.000000Z, by host-1.\n\
         The work ran once, because the key had no record.\n\
         Other callers wait for its outcome. The lease runs out in 45s unless it is renewed."
    );
    lease.fail_retryable("throttled", Duration::from_secs(30)).wait().unwrap();
    let text = explained(&engine);
    assert!(
        text.contains("has failed, at 2026-01-01T00:00:15.000000Z, with the code \"throttled\""),
        "{text}"
    );
    assert!(text.ends_with("Callers get the failure for 30s. Then the next one retries."), "{text}");
    clock.advance(MINUTE);
    let lease = take(&engine, "host-2");
    lease.leave_in_doubt().wait().unwrap();
    let explanation = engine.explain("key").wait().unwrap();
    assert_eq!((explanation.state, explanation.waits_for), (Some(State::Lapsed), WaitsFor::Decision));
    let text = explanation.to_string();
    assert!(text.contains("is in doubt") && text.contains("resolve the key"), "{text}");
    engine.resolve("key").completed(&7).wait().unwrap();
    let text = explained(&engine);
    assert!(text.contains("was completed, at 2026-01-01T00:01:15.000000Z, by an operator."), "{text}");
    assert!(text.ends_with("Callers get the result. The work is not run again."), "{text}");
}

#[test]
fn an_explanation_tells_why_the_work_ran_twice() {
    let (engine, clock) = engine();
    take(&engine, "host-1").abandon().wait().unwrap();
    let _second = std::mem::ManuallyDrop::new(take(&engine, "host-2"));
    clock.advance(2 * MINUTE);
    take(&engine, "host-3").fail("declined").wait().unwrap();
    take(&engine, "host-4").leave_in_doubt().wait().unwrap();
    let _fifth = std::mem::ManuallyDrop::new(take(&engine, "host-5"));
    engine.resolve("key").forced().released().wait().unwrap();
    take(&engine, "host-6").complete(&7).wait().unwrap();
    let text = explained(&engine);
    for line in [
        "The work may have run 6 times.",
        "- attempt 3 failed by host-3, at 2026-01-01T00:02:00.000000Z. A retry was allowed.",
        "- attempt 4 was left in doubt by host-4, at 2026-01-01T00:02:00.000000Z. The next caller reconciled.",
        "- attempt 5 was released by an operator, by force, at 2026-01-01T00:02:00.000000Z.",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn an_explanation_is_data_as_well() {
    let (engine, _) = engine();
    let lease = take(&engine, "host-1");
    let shown = serde_json::to_value(engine.explain("key").wait().unwrap()).unwrap();
    assert_eq!(shown["state"], "in_progress");
    assert_eq!(shown["waits_for"], serde_json::json!({ "lease": 60.0 }));
    assert_eq!(shown["history"][0]["kind"], "granted");
    assert!(!shown.to_string().contains(&lease.lease_id().reveal()), "P11");
    assert!(matches!(engine.explain("").wait(), Err(Error::Key(_))));
}

/// All renewals of a grant are one entry. A record with a million of them was seen to take 62 bytes.
#[test]
fn a_record_stays_small_however_often_its_lease_is_renewed() {
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let lease = take(&engine, "host-1");
    let size = || store.load(&Key::new("key").unwrap()).wait().unwrap().record.unwrap().encode().len();
    let first = size();
    for _ in 0..20_000 {
        lease.extend(MINUTE).wait().unwrap();
    }
    assert!(size() < first + 40, "{} bytes, {first} at first", size());
    let history = engine.status("key").wait().unwrap().unwrap().history();
    assert_eq!(history.iter().map(|entry| entry.count()).collect::<Vec<_>>(), [1, 20_000]);
}

/// A store that knows no states, or passes them on.
#[derive(Debug)]
struct Scanned {
    inner: MemoryStore,
    knows_states: bool,
    records: AtomicUsize,
}

impl Store for Scanned {
    fn now(&self) -> Reply<Timestamp> {
        self.inner.now()
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.inner.execute(operation)
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.inner.load(key)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let query = if self.knows_states { query } else { Scan::new(query.prefix, query.after, query.limit) };
        let page = self.inner.scan(query).wait();
        self.records.fetch_add(page.as_ref().unwrap().entries.len(), Ordering::SeqCst);
        Pending::ready(page)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.inner.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.inner.close(closing)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.inner.subscribe(notifier);
    }
}

/// Returns an engine with 5,000 completed keys and a last one that is in progress.
fn five_thousand(knows_states: bool) -> (Engine, Arc<Scanned>, Lease) {
    let store = Arc::new(Scanned { inner: MemoryStore::new(), knows_states, records: AtomicUsize::new(0) });
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    for number in 0..5000 {
        let ask = engine.acquire(&format!("job:{number:05}")).wait().unwrap();
        let Acquisition::Acquired(lease) = ask else { panic!("the key is new") };
        lease.complete(&number).wait().unwrap();
    }
    let Acquisition::Acquired(lease) = engine.acquire("job:99999").wait().unwrap() else { panic!() };
    (engine, store, lease)
}

/// Without a limit, a page would read all records of a large store.
#[test]
fn a_page_of_a_listing_by_state_reads_a_bounded_number_of_records() {
    let (engine, store, _lease) = five_thousand(false);
    let first = engine.list().state(State::InProgress).wait().unwrap();
    assert!(first.entries.is_empty() && first.next.as_ref().unwrap().as_str() == "job:04095");
    assert_eq!(store.records.load(Ordering::SeqCst), 4096);
    let second = engine.list().state(State::InProgress).after(first.next).wait().unwrap();
    assert_eq!((second.entries.len(), second.next), (1, None));
}

/// Each page of the in-memory store examines all keys. A listing by a rare state had pages for all
/// records: 40 s of an unoptimised program for 200,000 of them.
#[test]
fn a_store_that_knows_the_state_of_its_records_returns_only_those_of_a_listing_by_state() {
    let (engine, store, lease) = five_thousand(true);
    let list = || engine.list().state(State::InProgress).wait().unwrap();
    assert_eq!((list().entries.len(), list().next), (1, None));
    assert_eq!(store.records.load(Ordering::SeqCst), 2);
    assert_eq!(engine.survey().wait().unwrap().lapsed.keys, 0);
    assert_eq!(store.records.load(Ordering::SeqCst), 2);
    lease.abandon().wait().unwrap();
    assert_eq!((list().entries.len(), engine.survey().wait().unwrap().lapsed.keys), (0, 1));
}
