//! Every metric of the catalogue is reported, and every reported metric is in the catalogue.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use lessor::{
    Acquisition, Backoff, Engine, FailureClass, Lease, LeaseId, Message, OnFailed, OnLapsed, Settings,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const CATALOGUE: &str = include_str!("../../../docs/observability.md");
const TTL: Duration = Duration::from_millis(200);

/// The metrics of the engines that `call` creates.
fn reported(call: impl FnOnce(&PrometheusHandle)) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || call(&handle));
    handle.render()
}

fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits until a metric has a value other than zero.
fn eventually(handle: &PrometheusHandle, series: &str) {
    eventually_is(handle, series, |value| value != "0");
}

fn eventually_is(handle: &PrometheusHandle, series: &str, expected: impl Fn(&str) -> bool) {
    for _ in 0..6000 {
        let text = handle.render();
        if text.lines().any(|line| line.strip_prefix(series).is_some_and(|value| expected(value.trim()))) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{series} is never reported:\n{}", handle.render());
}

/// Returns each label value of the catalogue, as the text format shows it, and whether the metric is
/// a histogram.
fn catalogue() -> BTreeMap<String, bool> {
    let rows = CATALOGUE.lines().filter(|line| line.starts_with("| `lessor_"));
    let series = rows.flat_map(|row| {
        let ticked: Vec<&str> = row.split('|').nth(1).into_iter().chain(row.split('|').nth(3)).collect();
        let names: Vec<Vec<String>> = ticked
            .iter()
            .map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect())
            .collect();
        let metric = names[0][0].clone();
        let series = match names[1].split_first() {
            None => vec![metric],
            Some((label, values)) => {
                values.iter().map(|value| format!("{metric}{{{label}=\"{value}\"}}")).collect()
            }
        };
        let is_histogram = row.contains("| histogram |");
        series.into_iter().map(move |series| (series, is_histogram))
    });
    series.collect()
}

#[test]
fn every_metric_of_the_catalogue_is_reported() {
    let settings = || Settings::new().purge_every(Duration::from_millis(20));
    let text = reported(|handle| {
        let store = lessor::open_store("memory:").unwrap();
        let engine = Engine::with_settings(store, settings()).unwrap();
        // Grants, by what came before.
        let id = LeaseId::random().unwrap();
        for _ in 0..2 {
            std::mem::forget(engine.acquire("lapsed").ttl(TTL).lease_id(id).wait().unwrap());
        }
        engine.wait_for("lapsed", Duration::from_secs(60)).wait().unwrap();
        let doubt = engine.acquire("lapsed").on_lapsed(OnLapsed::InDoubt).wait().unwrap();
        assert!(matches!(doubt, Acquisition::InDoubt(_)));
        acquire(&engine, "lapsed").leave_in_doubt().wait().unwrap();
        acquire(&engine, "released").release().wait().unwrap();
        acquire(&engine, "released").complete("done").wait().unwrap();
        let _replay = engine.acquire("released").wait().unwrap();
        acquire(&engine, "failed").fail("code").wait().unwrap();
        let _failed = engine.acquire("failed").wait().unwrap();
        let retry = OnFailed::Retry { max_attempts: 2, backoff: Backoff::NONE };
        let _retried = engine.acquire("failed").on_failed(retry).wait().unwrap();
        let fingerprinted = engine.acquire("fingerprint").fingerprint("A").wait().unwrap();
        let _in_progress = engine.acquire("fingerprint").fingerprint("A").wait().unwrap();
        engine.acquire("fingerprint").fingerprint("B").wait().unwrap_err();
        drop(fingerprinted);
        eventually(handle, r#"lessor_outcomes_total{outcome="abandoned"}"#);
        // A superseded holder, which loses its lease.
        let stale = acquire(&engine, "stale");
        engine.forget_forced("stale").wait().unwrap();
        // The other decisions of operators.
        engine.forget("released").wait().unwrap();
        let _held = ["canceled", "forced"].map(|key| acquire(&engine, key));
        engine.cancel("canceled", None).wait().unwrap();
        engine.resolve("forced").forced().released().wait().unwrap();
        acquire(&engine, "doubt").leave_in_doubt().wait().unwrap();
        engine.resolve("doubt").completed("done").wait().unwrap();
        let _next = acquire(&engine, "stale");
        stale.complete("done").wait().unwrap_err();
        // A late outcome.
        let late = acquire(&engine, "late");
        engine.wait_for("late", Duration::from_secs(60)).wait().unwrap();
        assert!(late.complete("done").wait().unwrap().is_late());
        // Renewals.
        let kept = engine.acquire("kept").ttl(10 * TTL).wait().unwrap();
        let Acquisition::Acquired(kept) = kept else { panic!("{kept:?}") };
        let kept = kept.keep_alive_while_progressing(5 * TTL);
        while engine.stats().renewals == 0 {
            kept.tick();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        eventually(handle, r#"lessor_renewals_total{result="stalled"}"#);
        drop(kept);
        // Work.
        engine.once("work").run(|_| Ok::<_, Message>(1)).unwrap();
        let keep = |_: &Message| FailureClass::keep();
        engine.once("bad").classify(keep).run(|_| Err::<(), _>(Message::new("no"))).unwrap_err();
        // Work that does not begin.
        let unused = engine.once("unused").run_detached(drop, async |_| Ok::<_, Message>(()));
        futures_lite::future::block_on(unused).unwrap_err();
        eventually(handle, r#"lessor_outcomes_total{outcome="unused"}"#);
        // A caller that waits.
        let held = acquire(&engine, "held");
        let waiting = engine.wait_for("held", Duration::from_secs(60));
        eventually(handle, "lessor_waiting_callers");
        drop(held);
        waiting.wait().unwrap();
        // Unresolved keys, which are found by surveys.
        let store = lessor::open_store("memory:").unwrap();
        let surveys = settings().survey_every(Some(Duration::from_millis(20)));
        let surveys = Engine::with_settings(store, surveys).unwrap();
        acquire(&surveys, "doubt").leave_in_doubt().wait().unwrap();
        acquire(&surveys, "lapsed").abandon().wait().unwrap();
        for series in ["lessor_unresolved_keys", "lessor_oldest_unresolved_age_seconds"] {
            for state in ["in_doubt", "lapsed"] {
                eventually(handle, &format!("{series}{{state=\"{state}\"}}"));
            }
        }
        // A purge.
        let short = settings().retention(Duration::from_millis(1));
        let purges = Engine::with_settings(lessor::open_store("memory:").unwrap(), short).unwrap();
        acquire(&purges, "purged").complete("done").wait().unwrap();
        eventually(handle, "lessor_purged_records_total");
    });
    // These two need a store that fails, or a pause at the right moment. The tests of the core count
    // them, and the same table makes the metrics.
    let rare = ["lessor_renewals_total{result=\"failed\"}", "lessor_renewal_near_misses_total"];
    for (series, histogram) in catalogue() {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let shown = match (histogram, labels) {
            (false, _) => series.clone(),
            (true, "") => format!("{name}_count"),
            (true, labels) => format!("{name}_count{{{labels}"),
        };
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{shown} ")));
        let value = value.unwrap_or_else(|| panic!("{series} is not reported:\n{text}"));
        let gauge = ["lessor_waiting_callers", "lessor_waited_keys"].contains(&name);
        assert!(value != "0" || gauge || rare.contains(&&*series), "{series} {value}");
    }
}

#[test]
fn the_age_of_a_key_in_doubt_is_reported_until_the_key_is_resolved() {
    reported(|handle| {
        let store = lessor::open_store("memory:").unwrap();
        let earlier = Engine::new(store.clone()).unwrap();
        acquire(&earlier, "doubt").leave_in_doubt().wait().unwrap();
        // A survey finds what was in doubt before this engine was created.
        let settings = Settings::new().survey_every(Some(Duration::from_millis(20)));
        let engine = Engine::with_settings(store, settings).unwrap();
        let (keys, age) = (
            r#"lessor_unresolved_keys{state="in_doubt"}"#,
            r#"lessor_oldest_unresolved_age_seconds{state="in_doubt"}"#,
        );
        eventually_is(handle, keys, |value| value == "1");
        eventually_is(handle, age, |value| value.parse::<f64>().is_ok_and(|age| age > 0.1));
        engine.resolve("doubt").completed("done").wait().unwrap();
        eventually_is(handle, keys, |value| value == "0");
        eventually_is(handle, age, |value| value == "0");
    });
}

#[test]
fn the_metrics_of_the_engines_of_a_process_add_up_and_waits_end_with_them() {
    let value = |text: &str, series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("{series}: {text}")).to_owned()
    };
    reported(|handle| {
        let engines: Vec<_> = (0..50).map(|_| lessor::open("memory:").unwrap()).collect();
        let held: Vec<_> = engines.iter().map(|engine| acquire(engine, "key")).collect();
        let waits: Vec<_> =
            engines.iter().map(|engine| engine.wait_for("key", Duration::from_secs(60))).collect();
        let text = handle.render();
        assert_eq!(value(&text, r#"lessor_grants_total{after="nothing"}"#), "50");
        assert_eq!(value(&text, "lessor_waiting_callers"), "50");
        assert_eq!(value(&text, "lessor_waited_keys"), "50");
        drop((engines, waits, held));
        let text = handle.render();
        assert_eq!(value(&text, "lessor_waiting_callers"), "0");
        assert_eq!(value(&text, "lessor_waited_keys"), "0");
    });
}

#[test]
fn every_reported_metric_is_in_the_catalogue() {
    let text = reported(|_| drop(lessor::open("memory:").unwrap()));
    let known = catalogue();
    let reported = text.lines().filter(|line| line.starts_with("lessor_"));
    let series = reported.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series);
    let mut count = 0;
    let histograms = ["lessor_renewal_margin_seconds", "lessor_work_seconds"];
    for series in series.filter(|series| !histograms.iter().any(|name| series.starts_with(name))) {
        assert!(known.contains_key(series), "{series} is not in docs/observability.md");
        count += 1;
    }
    assert!(count >= 20, "{text}");
    // A gauge that nobody sets would show that no key is in doubt.
    assert!(!text.contains("unresolved"), "{text}");
}
