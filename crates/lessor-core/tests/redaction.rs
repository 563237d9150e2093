//! P11: no printed value contains a lease id, a result, metadata, a checkpoint or an error detail.
//! `src/rules/tests/redaction.rs` tests the types that only the engine can create.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod secrets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Execution, Operation, Page, Reply, Scan, Snapshot};
use lessor_core::{
    Acquisition, Backoff, Clock, Engine, Error, Key, Lease, LeaseHandle, LeaseId, Message, OnFailed,
    OnLapsed, OnceError, Pending, Settings, Store, Timestamp,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{Layer, Layered, Retrying, SwapLayer, swap};
use parking_lot::Mutex;
use secrets::{CHECKPOINT, DETAIL, LEASE_ID, Looks, METADATA, OTHER_LEASE_ID, RESULT};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Hand(AtomicU64);

impl Hand {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Prints everything that the retry loop and the store exchange, and every operation.
struct Talkative {
    inner: Arc<dyn Store>,
    said: Mutex<Vec<String>>,
}

impl Talkative {
    fn say(&self, what: &dyn std::fmt::Debug) {
        self.said.lock().extend([format!("{what:?}"), format!("{what:#?}")]);
    }
}

impl SwapLayer for Talkative {
    fn below(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let seen = self.inner.load(key).wait();
        self.say(&seen);
        Pending::ready(seen)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.say(&change);
        let swap = swap(&*self.inner, key, change).wait();
        self.say(&swap);
        Pending::ready(swap)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.say(&query);
        let page = self.inner.scan(query).wait();
        self.say(&page);
        Pending::ready(page)
    }
}

/// Prints operations in both forms.
struct Operations(Arc<Retrying<Talkative>>);

impl Layer for Operations {
    fn below(&self) -> &dyn Store {
        &*self.0
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.0.say(&operation);
        let owned = operation.to_owned();
        self.0.say(&owned);
        let answered = self.0.load(owned.key()).wait();
        let answered = answered.map(|seen| seen.record.and_then(|record| owned.answer(&record, seen.now)));
        self.0.say(&answered);
        self.0.execute(operation)
    }
}

struct World {
    clock: Arc<Hand>,
    talkative: Arc<Retrying<Talkative>>,
    engine: Engine,
    looks: Looks,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Hand(AtomicU64::new(1_700_000_000_000_000)));
        let inner = Arc::new(MemoryStore::with_clock(clock.clone()));
        let talkative = Arc::new(Retrying::over(Talkative { inner, said: Mutex::default() }));
        let store = Arc::new(Layered(Operations(Arc::clone(&talkative))));
        let mut settings = Settings::default();
        (settings.limits.max_result, settings.limits.max_error_detail) = (64, 64);
        let engine = Engine::with_settings(store, settings).unwrap();
        Self { clock, talkative, engine, looks: Looks::default() }
    }

    fn ask(&self, key: &str, id: [u8; 16], on_lapsed: OnLapsed) -> Result<Acquisition, Error> {
        let request = self
            .engine
            .acquire(key)
            .lease_id(LeaseId::from_bytes(id))
            .ttl(SECOND)
            .metadata(&json!({"a": METADATA}))
            .fingerprint(METADATA)
            .on_lapsed(on_lapsed);
        self.looks.at("AcquireRequest", &request);
        let sent = request.send();
        self.looks.at("Pending", &sent);
        let answer = sent.wait();
        self.looks.at("Acquisition", &answer);
        answer
    }

    /// Returns a lease with a checkpoint and the secret lease id.
    fn grant(&self, key: &str) -> Lease {
        let Ok(Acquisition::Acquired(lease)) = self.ask(key, LEASE_ID, OnLapsed::TakeOver) else {
            panic!("{key} is not free");
        };
        self.looks.at("Ack", &lease.checkpoint(CHECKPOINT).wait());
        lease
    }

    fn held(&self, key: &str, id: [u8; 16]) -> LeaseHandle {
        self.engine.lease_handle(key, LeaseId::from_bytes(id)).unwrap()
    }

    /// Prints everything that can be observed of a key.
    fn survey(&self, key: &str) {
        let view = self.engine.status(key).wait().unwrap();
        self.looks.at("View", &view);
        self.looks.at("Result", &self.engine.result(key).wait());
        self.looks.at("Listing", &self.engine.list().limit(100).wait());
        self.looks.at("ListRequest", &self.engine.list());
        let explanation = self.engine.explain("work").wait();
        self.looks.at("Explanation", &explanation);
        self.looks.at("the sentences of an Explanation", &explanation.map(|told| told.to_string()));
        if let Some(view) = view {
            let shown = serde_json::to_string(&view).unwrap().replace(METADATA, "metadata may be seen");
            self.looks.text("the serialized view", &shown);
            self.looks.at("Error::Json", &view.result::<u32>());
            self.looks.at("Error::Json", &view.metadata::<Vec<u32>>());
        }
        let seen = SwapLayer::load(&**self.talkative, &Key::new(key).unwrap()).wait().unwrap();
        self.looks.at("Record", &seen.record);
    }

    fn refused<T: std::fmt::Debug>(&self, answer: Result<T, Error>) -> Error {
        self.looks.at("Result<_, Error>", &answer);
        let error = answer.unwrap_err();
        self.looks.text("the error's message", &error.to_string());
        error
    }
}

#[test]
fn p11_no_printable_value_shows_a_secret() {
    let world = World::new();
    let (engine, looks) = (&world.engine, &world.looks);
    looks.at("LeaseId", &LeaseId::from_bytes(LEASE_ID));

    // In progress.
    let lease = world.grant("work");
    looks.at("Lease", &lease);
    looks.at("LeaseHandle", &world.held("work", LEASE_ID));
    looks.at("Pending", &lease.complete_bytes_as(&[0; 65], None));
    world.survey("work");
    let _ = world.ask("work", OTHER_LEASE_ID, OnLapsed::TakeOver);
    world.refused(world.held("work", OTHER_LEASE_ID).complete(RESULT).wait());
    world.refused(engine.forget("work").wait());
    world.refused(engine.resolve("work").completed(RESULT).wait());
    world.refused(engine.acquire("work").fingerprint(RESULT).wait());

    // Completed.
    looks.at("Ack", &lease.complete(RESULT).wait());
    world.survey("work");
    let _ = world.ask("work", OTHER_LEASE_ID, OnLapsed::TakeOver);
    world.refused(lease.complete("other").wait());
    world.refused(lease.fail_with("declined", DETAIL).wait());
    looks.at("Outcome", &engine.once("work").run(|_| Ok::<_, Message>(RESULT.to_owned())));
    looks.at("OnceError", &engine.once("work").run(|_| Ok::<u32, Message>(1)));

    // Failed.
    let lease = world.grant("failing");
    looks.at("Ack", &lease.fail_with("declined", DETAIL).wait());
    world.survey("failing");
    let _ = world.ask("failing", OTHER_LEASE_ID, OnLapsed::TakeOver);
    let replayed = engine.once("failing").run(|_| Ok::<_, Message>(RESULT.to_owned()));
    assert!(matches!(replayed, Err(OnceError::Failed(_))));
    looks.at("OnceError", &replayed);
    let retry = OnFailed::Retry { max_attempts: 5, backoff: Backoff::NONE };
    let request = engine.acquire("failing").lease_id(LeaseId::from_bytes(LEASE_ID)).on_failed(retry);
    assert!(matches!(world.refused(request.wait()), Error::LeaseIdReused));

    // Lapsed, in doubt, taken over, superseded, released.
    let lease = world.grant("lapsing");
    world.clock.forward(2 * SECOND);
    world.survey("lapsing");
    world.refused(lease.extend(SECOND).wait());
    let doubt = world.ask("lapsing", OTHER_LEASE_ID, OnLapsed::InDoubt).unwrap();
    assert!(matches!(doubt, Acquisition::InDoubt(_)));
    looks.at("Resolve", &engine.resolve("lapsing"));
    let Ok(Acquisition::Acquired(heir)) = world.ask("lapsing", OTHER_LEASE_ID, OnLapsed::TakeOver) else {
        panic!("a lapsed lease is taken over");
    };
    looks.at("Lease", &heir);
    looks.at("Former", &heir.previous_grant());
    world.refused(heir.previous_checkpoint::<u32>());
    world.refused(lease.complete(RESULT).wait());
    looks.at("Ack", &heir.release().wait());
    world.survey("lapsing");
    world.refused(heir.complete(RESULT).wait());
    looks.at("Forgotten", &engine.forget("lapsing").wait());
    world.survey("lapsing");

    // Invalid arguments.
    let lease = world.grant("limits");
    world.refused(lease.complete(&RESULT.repeat(9)).wait());
    world.refused(lease.complete_bytes_as(b"", Some(&RESULT.repeat(99))).wait());
    world.refused(lease.fail(&DETAIL.repeat(99)).wait());
    world.refused(lease.fail_with("x", &DETAIL.repeat(9)).wait());
    world.refused(engine.acquire("limits").metadata(METADATA).wait());
    world.refused(engine.acquire("limits").metadata(&json!({"a": METADATA.repeat(999)})).wait());
    let almost = &LeaseId::from_bytes(LEASE_ID).reveal()[..37];
    world.refused(almost.parse::<LeaseId>().map_err(Error::from));

    looks.at("Once", &engine.once::<(), ()>("limits").metadata(&json!({"a": METADATA})));
    looks.at("Engine", engine);
    looks.at("MemoryStore", &world.talkative.inner);
    let said = world.talkative.said.lock();
    assert!(said.iter().any(|said| said.contains("Conflict")) && said.len() > 50);
    for said in said.iter() {
        looks.text("ConditionalWrite, CasResult, Snapshot or Page", said);
    }
    println!("{} values and {} messages to the store looked at", looks.count(), said.len());
}
