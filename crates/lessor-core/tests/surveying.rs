//! Surveys of keys whose lease has ended without an outcome.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Lease, Settings};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;

const TTL: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn still(settings: Settings) -> (Engine, ManualClock) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    (Engine::with_settings(store, settings.purge_every(30 * DAY)).unwrap(), clock)
}

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_survey_returns_the_number_and_the_age_of_keys_without_an_outcome() {
    let (engine, clock) = still(Settings::new());
    let none = engine.survey().wait().unwrap();
    assert_eq!((none.in_doubt.keys, none.in_doubt.oldest), (0, None));
    assert_eq!((none.lapsed.keys, none.lapsed.oldest), (0, None));
    // A lease that runs out after a minute, and two that end earlier.
    std::mem::forget(acquire(&engine, "lapsed 1"));
    clock.advance(TTL / 2);
    acquire(&engine, "doubt 1").leave_in_doubt().wait().unwrap();
    clock.advance(TTL);
    acquire(&engine, "doubt 2").leave_in_doubt().wait().unwrap();
    acquire(&engine, "lapsed 2").abandon().wait().unwrap();
    // Keys in all other states.
    acquire(&engine, "completed").complete("done").wait().unwrap();
    acquire(&engine, "failed").fail("code").wait().unwrap();
    acquire(&engine, "released").release().wait().unwrap();
    acquire(&engine, "resolved").leave_in_doubt().wait().unwrap();
    engine.resolve("resolved").completed("done").wait().unwrap();
    acquire(&engine, "forgotten").leave_in_doubt().wait().unwrap();
    engine.forget("forgotten").wait().unwrap();
    let _live = acquire(&engine, "live");
    let survey = engine.survey().wait().unwrap();
    assert_eq!((survey.in_doubt.keys, survey.in_doubt.oldest), (2, Some(TTL)));
    assert_eq!((survey.lapsed.keys, survey.lapsed.oldest), (2, Some(TTL / 2)));
    // Records whose retention has ended do not count, although they are not purged yet.
    clock.advance(8 * DAY);
    assert_eq!(engine.survey().wait().unwrap().in_doubt.keys, 0);
}

#[test]
fn a_survey_reads_all_pages_of_the_store() {
    let (engine, _clock) = still(Settings::new());
    for number in 0..10_000 {
        acquire(&engine, &format!("key {number}")).abandon().wait().unwrap();
    }
    assert_eq!(engine.survey().wait().unwrap().lapsed.keys, 10_000);
}

#[test]
fn a_survey_of_a_namespace_counts_its_keys_only() {
    let (engine, _clock) = still(Settings::new());
    let [one, two] = ["one", "two"].map(|name| engine.namespace(name).open().unwrap());
    for tenant in [&engine, &one, &one, &two] {
        let key = format!("key {}", tenant.survey().wait().unwrap().lapsed.keys);
        acquire(tenant, &key).abandon().wait().unwrap();
    }
    let lapsed = |engine: &Engine| engine.survey().wait().unwrap().lapsed.keys;
    assert_eq!((lapsed(&engine), lapsed(&one), lapsed(&two)), (4, 2, 1));
}

#[test]
fn an_interval_of_surveys_out_of_its_range_is_refused() {
    let refused = |every| {
        let settings = Settings::new().survey_every(Some(every));
        Engine::with_settings(Arc::new(MemoryStore::new()), settings).unwrap_err().to_string()
    };
    assert!(refused(Duration::ZERO).contains("survey_every"));
    assert!(refused(Duration::MAX).contains("survey_every"));
}
