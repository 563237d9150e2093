//! What an engine counts and reports: statistics, spans and events.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_lite::future;
use lessor_core::{
    Acquisition, Backoff, Engine, KeysInLogs, Lease, Message, OnFailed, OnLapsed, Settings, Stats,
};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

const TTL: Duration = Duration::from_secs(60);

fn with(settings: Settings) -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::with_settings(store, settings).unwrap(), clock)
}

fn still() -> (Engine, ManualClock) {
    with(Settings::new())
}

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits until the background has counted an event.
fn eventually(engine: &Engine, what: impl Fn(&Stats) -> u64, expected: u64) {
    for _ in 0..6000 {
        if what(&engine.stats()) == expected {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{:?}", engine.stats());
}

/// The fields that differ from those of a new engine.
fn counted(stats: &Stats) -> Vec<(String, u64)> {
    let fields = serde_json::to_value(stats).unwrap();
    let fields = fields.as_object().unwrap().iter();
    fields.filter_map(|(name, count)| count.as_u64().filter(|n| *n > 0).map(|n| (name.clone(), n))).collect()
}

/// Compares the counts. `expected` must be in alphabetical order.
fn counts(engine: &Engine, expected: &[(&str, u64)]) {
    let counted = counted(&engine.stats());
    let counted: Vec<_> = counted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counted, expected);
}

#[test]
fn each_way_to_a_lease_is_counted_by_what_came_before() {
    let (engine, clock) = still();
    acquire(&engine, "released").release().wait().unwrap();
    acquire(&engine, "released").complete("done").wait().unwrap();
    acquire(&engine, "failed").fail("code").wait().unwrap();
    let retry = OnFailed::Retry { max_attempts: 2, backoff: Backoff::NONE };
    let Acquisition::Acquired(again) = engine.acquire("failed").on_failed(retry).wait().unwrap() else {
        panic!()
    };
    again.complete("done").wait().unwrap();
    let id = lessor_core::LeaseId::random().unwrap();
    let first = engine.acquire("lapsed").ttl(TTL).lease_id(id).wait().unwrap();
    let repeated = engine.acquire("lapsed").ttl(TTL).lease_id(id).wait().unwrap();
    std::mem::forget((first, repeated));
    clock.advance(TTL);
    acquire(&engine, "lapsed").complete("done").wait().unwrap();
    counts(
        &engine,
        &[
            ("completed", 3),
            ("failed", 1),
            ("first_grants", 3),
            ("grants_after_release", 1),
            ("released", 1),
            ("repeated_grants", 1),
            ("retries", 1),
            ("takeovers", 1),
        ],
    );
}

#[test]
fn each_answer_without_a_lease_is_counted_by_the_state_of_the_key() {
    let (engine, clock) = still();
    let held = acquire(&engine, "key");
    for _ in 0..2 {
        assert!(matches!(engine.acquire("key").wait().unwrap(), Acquisition::InProgress(_)));
    }
    held.complete("done").wait().unwrap();
    for _ in 0..3 {
        assert!(matches!(engine.acquire("key").wait().unwrap(), Acquisition::Completed(_)));
    }
    acquire(&engine, "failed").fail("code").wait().unwrap();
    assert!(matches!(engine.acquire("failed").wait().unwrap(), Acquisition::Failed(_)));
    std::mem::forget(acquire(&engine, "lapsed"));
    clock.advance(TTL);
    let doubt = engine.acquire("lapsed").on_lapsed(OnLapsed::InDoubt).wait().unwrap();
    assert!(matches!(doubt, Acquisition::InDoubt(_)));
    assert!(engine.acquire("key").fingerprint("A").wait().is_ok());
    let _lease = engine.acquire("other").fingerprint("A").wait().unwrap();
    assert!(engine.acquire("other").fingerprint("B").wait().is_err());
    counts(
        &engine,
        &[
            ("acquire_errors", 1),
            ("completed", 1),
            ("failed", 1),
            ("first_grants", 4),
            ("in_doubt", 1),
            ("in_progress", 2),
            ("replayed_failures", 1),
            ("replayed_results", 4),
        ],
    );
}

#[test]
fn late_outcomes_stale_holders_and_lost_leases_are_counted() {
    let (engine, clock) = still();
    let late = acquire(&engine, "late");
    clock.advance(TTL);
    assert!(late.complete("done").wait().unwrap().is_late());
    let stale = acquire(&engine, "stale");
    clock.advance(TTL);
    let next = acquire(&engine, "stale");
    stale.complete("done").wait().unwrap_err();
    stale.extend(TTL).wait().unwrap_err();
    next.leave_in_doubt().wait().unwrap();
    let taken = acquire(&engine, "taken");
    let lost = taken.lost();
    engine.forget_forced("taken").wait().unwrap();
    lost.wait();
    drop(taken);
    counts(
        &engine,
        &[
            ("completed", 1),
            ("first_grants", 3),
            ("forced_removals", 1),
            ("late_outcomes", 1),
            ("left_in_doubt", 1),
            ("lost_leases", 2),
            ("stale_refusals", 2),
            ("takeovers", 1),
        ],
    );
}

#[test]
fn renewals_stalls_purges_and_abandoned_leases_are_counted() {
    let settings = Settings::new().retention(Duration::from_secs(600)).purge_every(Duration::from_secs(3600));
    let (engine, clock) = with(settings);
    let lease = acquire(&engine, "key").keep_alive_while_progressing(TTL / 2);
    assert_eq!(engine.stats().watched_leases, 1);
    clock.advance(TTL / 3);
    eventually(&engine, |stats| stats.renewals, 1);
    clock.advance(TTL / 2);
    eventually(&engine, |stats| stats.stalls, 1);
    lease.complete("done").wait().unwrap();
    drop(lease);
    assert_eq!(engine.stats().watched_leases, 0);
    clock.advance(Duration::from_secs(7200));
    eventually(&engine, |stats| stats.purged, 1);
    drop(acquire(&engine, "dropped"));
    eventually(&engine, |stats| stats.abandoned, 1);
}

/// `Engine::purge` removed records without counting them.
#[test]
fn records_that_a_caller_purges_are_counted() {
    let settings = Settings::new().retention(Duration::from_secs(1)).purge_every(Duration::from_secs(3600));
    let (engine, clock) = with(settings);
    for key in ["a", "b", "c"] {
        acquire(&engine, key).complete("done").wait().unwrap();
    }
    assert_eq!((engine.purge(10).wait().unwrap(), engine.stats().purged), (0, 0));
    clock.advance(Duration::from_secs(2));
    assert_eq!((engine.purge(2).wait().unwrap(), engine.stats().purged), (2, 2));
    assert_eq!((engine.purge(2).wait().unwrap(), engine.stats().purged), (1, 3));
}

#[test]
fn decisions_of_operators_are_counted_and_reported() {
    let (engine, clock) = still();
    let lines = written(|| {
        std::mem::forget(acquire(&engine, "lapsed"));
        engine.resolve("lapsed").completed("done").wait().unwrap_err();
        clock.advance(TTL);
        engine.resolve("lapsed").completed("s3cret").wait().unwrap();
        engine.resolve("lapsed").failed("refused").wait().unwrap_err();
        let live = ["failed", "released", "canceled", "canceled too"].map(|key| acquire(&engine, key));
        engine.resolve("failed").forced().failed_with("code", "s3cret").wait().unwrap();
        engine.resolve("released").forced().released().wait().unwrap();
        engine.cancel("canceled", Some("by user")).wait().unwrap();
        engine.resolve("canceled too").forced().canceled(None).wait().unwrap();
        drop(live);
        assert!(engine.forget("lapsed").wait().unwrap());
        assert!(!engine.forget("lapsed").wait().unwrap());
        let _live = acquire(&engine, "live");
        engine.forget("live").wait().unwrap_err();
        assert!(engine.forget_forced("live").wait().unwrap());
    });
    counts(
        &engine,
        &[
            ("canceled", 2),
            ("first_grants", 6),
            ("forced_removals", 1),
            ("forced_resolutions", 2),
            ("forgotten", 1),
            ("resolved", 1),
        ],
    );
    let lines = lines.with("an operator has decided on a key");
    let told: Vec<_> = lines.iter().map(|line| line.trim_start_matches("INFO ")).collect();
    assert!(lines.iter().all(|line| line.starts_with("INFO")) && lines.len() == 7, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "{lines:?}");
    for (line, (key, outcome, forced)) in told.iter().zip([
        ("lapsed", "completed", false),
        ("failed", "failed", true),
        ("released", "released", true),
        ("canceled", "canceled", true),
        ("canceled too", "canceled", true),
        ("lapsed", "forgotten", false),
        ("live", "forgotten", true),
    ]) {
        for part in [format!("key={key} "), format!("outcome=\"{outcome}\""), format!("forced={forced}")] {
            assert!(line.contains(&part), "{line}: {part}");
        }
    }
}

#[test]
fn a_renewal_shortly_before_the_end_is_a_near_miss() {
    let (engine, clock) = still();
    let lease = acquire(&engine, "key");
    // Its time has nearly passed before it is kept alive.
    clock.advance(TTL - Duration::from_secs(3));
    let lease = lease.keep_alive();
    eventually(&engine, |stats| stats.renewals, 1);
    assert_eq!(engine.stats().near_misses, 1);
    clock.advance(TTL / 3);
    eventually(&engine, |stats| stats.renewals, 2);
    assert_eq!(engine.stats().near_misses, 1);
    lease.complete("done").wait().unwrap();
}

#[test]
fn callers_that_wait_are_counted_while_they_wait() {
    let (engine, _clock) = still();
    let held = acquire(&engine, "key");
    let waiting = engine.wait_for("key", TTL);
    let work = engine.once("key").run_async(async |_| Ok::<_, Message>(String::new()));
    let mut work = std::pin::pin!(work);
    assert!(future::block_on(future::poll_once(work.as_mut())).is_none());
    let other = acquire(&engine, "other");
    let waits_for_other = engine.wait_for("other", TTL);
    let count = || (engine.stats().waiting, engine.stats().waited_keys, engine.stats().waits);
    assert_eq!(count(), (3, 2, 3));
    drop(waits_for_other);
    assert_eq!(count(), (2, 1, 3));
    held.complete("done").wait().unwrap();
    waiting.wait().unwrap();
    future::block_on(work).unwrap();
    assert_eq!(count(), (0, 0, 3));
    other.complete("done").wait().unwrap();
}

/// Keeps the text of all spans and events.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        *self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Written {
    fn push(&self, mut line: String, record: impl FnOnce(&mut Line<'_>)) {
        record(&mut Line(&mut line));
        self.0.lock().push(line);
    }

    /// Returns the lines that contain `part`.
    fn with(&self, part: &str) -> Vec<String> {
        self.0.lock().iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

impl Subscriber for Written {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lessor"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.push(format!("span {}", span.metadata().name()), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.push("record".to_owned(), |line| values.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.push(event.metadata().level().to_string(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Is never used. With a single subscriber, `tracing` decides on a new event by the subscriber of the
/// thread that reports it first, which may be the thread of a test without one.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Written::default()));

/// Runs `call` with a subscriber of this thread, and returns what was written.
fn written(call: impl FnOnce()) -> Written {
    LazyLock::force(&SECOND);
    let written = Written::default();
    tracing::subscriber::with_default(written.clone(), call);
    written
}

fn charge(engine: &Engine, key: &str) {
    engine.once(key).run(|_| Ok::<_, Message>("s3cret".to_owned())).unwrap();
}

#[test]
fn a_call_has_a_span_with_its_outcome() {
    let (engine, _clock) = still();
    let lines = written(|| {
        charge(&engine, "invoice:42");
        charge(&engine, "invoice:42");
        let _ = engine.once("bad").run(|_| Err::<(), _>(Message::new("no")));
        let _ = future::block_on(engine.once("async").run_async(async |_| Ok::<_, Message>(1)));
    });
    assert_eq!(lines.with("span lessor.once lessor.key=invoice:42").len(), 2);
    assert_eq!(lines.with("outcome=\"completed\"").len(), 2 + 2, "of the records and the events");
    assert_eq!(lines.with("outcome=\"replayed\"").len(), 1);
    assert_eq!(lines.with("error.type=\"work\"").len(), 1);
    assert_eq!(lines.with("lessor.attempt=1").len(), 3 + 3);
    assert!(lines.with("s3cret").is_empty());
}

#[test]
fn takeovers_losses_and_late_outcomes_are_reported_above_the_level_of_everyday_events() {
    let (engine, clock) = still();
    let lines = written(|| {
        let late = acquire(&engine, "late");
        clock.advance(TTL);
        late.complete("done").wait().unwrap();
        let stale = acquire(&engine, "stale");
        clock.advance(TTL);
        let _next = acquire(&engine, "stale");
        stale.complete("done").wait().unwrap_err();
    });
    for (level, text) in [
        ("INFO", "an outcome is stored after its lease has lapsed"),
        ("INFO", "a lapsed lease is taken over"),
        ("WARN", "an operation of a superseded holder is refused"),
        ("WARN", "a lease is lost"),
        ("DEBUG", "a lease is granted"),
    ] {
        let lines = lines.with(text);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with(level)), "{text}: {lines:?}");
    }
}

#[test]
fn keys_can_be_hashed_or_omitted_in_logs() {
    for (keys, in_logs) in [
        (KeysInLogs::Plain, Some("lessor.key=customer@example.com")),
        // The first digits of its SHA-256.
        (KeysInLogs::Hashed, Some("lessor.key=e233d4a29013e9d8")),
        (KeysInLogs::Omitted, None),
    ] {
        let (engine, _clock) = with(Settings::new().keys_in_logs(keys));
        let lines = written(|| {
            charge(&engine, "customer@example.com");
            let panics =
                || engine.once("customer@example.com 2").run(|_| -> Result<(), Message> { panic!("x") });
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        });
        assert!(lines.with("a lease is granted").len() == 2, "{keys:?}");
        assert_eq!(lines.with("customer").is_empty(), keys != KeysInLogs::Plain, "{keys:?}");
        match in_logs {
            Some(text) => assert!(!lines.with(text).is_empty(), "{keys:?}: {:?}", lines.with("granted")),
            None => assert!(lines.with("lessor.key=").is_empty(), "{keys:?}"),
        }
    }
}
