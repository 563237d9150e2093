#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::Engine;
use lessor_memory::MemoryStore;

use super::keys::Fresh;
use super::*;

const SHORT: Duration = Duration::from_millis(30);

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(Arc::new(MemoryStore::new())).unwrap())
}

fn crowds() -> [Crowd; 4] {
    [Crowd::of_threads(1), Crowd::of_threads(3), Crowd::of_tasks(1), Crowd::of_tasks(100)]
        .map(|crowd| crowd.length(SHORT))
}

#[test]
fn each_workload_does_what_it_says_on_threads_and_tasks() {
    for crowd in crowds() {
        let fresh = crowd.fresh(&engine());
        assert!(fresh.told.granted > 0 && fresh.told.total() == fresh.told.granted, "{fresh}");
        let refused = crowd.refused(&engine());
        assert!(refused.told.refused > 0 && refused.told.total() == refused.told.refused, "{refused}");
        let taken = crowd.takeover(&engine(), 50);
        assert_eq!(taken.told, Tally { granted: 50, ..Tally::default() }, "{taken}");
        let renewed = crowd.renewals(&engine(), 100);
        assert!(renewed.told.granted > 0, "{renewed}");
        for sample in [fresh, refused, taken, renewed] {
            let Latency { p50, p90, p99, p999, most } = sample.latency;
            assert!(
                p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= most && most <= sample.took,
                "{sample}"
            );
            assert!(sample.per_second > 0.0);
        }
    }
}

#[test]
fn p1_of_keys_that_are_asked_for_again_each_is_granted_once_and_replayed_from_then_on() {
    for crowd in crowds() {
        let sample = crowd.on_keys(&engine(), &Keys::recorded(["a", "b", "a", "c"].map(str::to_owned)));
        assert_eq!(sample.told.granted, 3, "{sample}");
        assert!(sample.told.replayed > 0, "{sample}");
    }
}

#[test]
fn all_waiters_get_the_result_and_each_wait_is_a_latency() {
    for crowd in [Crowd::of_threads(3), Crowd::of_tasks(200)] {
        let sample = crowd.waiters(&engine());
        assert!(sample.told.replayed > 2 && sample.latency.most == sample.took, "{sample}");
    }
}

/// Grants every key to everybody.
struct Careless(AtomicU64);

impl Guard for Careless {
    type Grant = ();
    type Result = Vec<u8>;

    async fn acquire(&self, _: &str, _: Duration) -> Told<(), Vec<u8>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Told::Granted(())
    }
    async fn extend(&self, _: &str, (): &mut (), _: Duration) {}
    async fn complete(&self, _: &str, (): (), _: &[u8]) {}
    async fn wait(&self, _: &str) -> Vec<u8> {
        b"another".to_vec()
    }
}

/// Completes nothing as it was told to.
struct Forgetful(Engine);

impl Guard for Forgetful {
    type Grant = lessor_core::Lease;
    type Result = Shown;

    async fn acquire(&self, key: &str, ttl: Duration) -> Told<Self::Grant, Shown> {
        Guard::acquire(&self.0, key, ttl).await
    }
    async fn extend(&self, _: &str, _: &mut Self::Grant, _: Duration) {}
    async fn complete(&self, key: &str, lease: Self::Grant, _: &[u8]) {
        Guard::complete(&self.0, key, lease, b"another").await;
    }
    async fn wait(&self, key: &str) -> Shown {
        Guard::wait(&self.0, key).await
    }
}

#[test]
fn p3_a_guard_that_replays_another_result_is_not_measured_but_refused() {
    let forgetful = || Arc::new(Forgetful(Engine::new(Arc::new(MemoryStore::new())).unwrap()));
    let crowd = Crowd::of_threads(1).length(SHORT);
    assert!(catch_unwind(AssertUnwindSafe(|| crowd.on_keys(&forgetful(), &Keys::zipf(3, 1.0)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| crowd.waiters(&forgetful()))).is_err());
}

#[test]
fn percentiles_are_what_so_many_took_no_longer_than() {
    let latency = Latency::of((1..=50).rev().map(Duration::from_millis).collect());
    let Latency { p50, p90, p99, p999, most } = latency;
    assert_eq!([p50, p90, p99, p999, most].map(|took| took.as_millis()), [25, 45, 50, 50, 50]);
}

#[test]
fn a_run_of_so_many_requests_ends_after_them() {
    let crowd = Crowd::of_threads(3).length(Duration::from_secs(600)).draws(90);
    assert_eq!(crowd.on_keys(&engine(), &Keys::zipf(10, 1.0)).told.total(), 90);
}

#[test]
fn p1_a_guard_that_grants_twice_is_not_measured_but_refused() {
    let careless = || Arc::new(Careless(AtomicU64::new(0)));
    let crowd = Crowd::of_threads(1).length(SHORT);
    type Run = fn(&Crowd, &Arc<Careless>) -> Sample;
    let runs: [Run; 2] =
        [|crowd, guard| crowd.refused(guard), |crowd, guard| crowd.on_keys(guard, &Keys::zipf(10, 1.0))];
    for run in runs {
        assert!(catch_unwind(AssertUnwindSafe(|| run(&crowd, &careless()))).is_err());
    }
}

#[test]
fn popular_keys_are_asked_for_as_often_as_their_rank_says() {
    let often = |exponent| {
        let (keys, mut counts) = (Keys::zipf(1000, exponent), BTreeMap::new());
        assert_eq!(keys.count(), 1000);
        for n in 0..1_000_000 {
            *counts.entry(keys.draw(0, n).to_owned()).or_insert(0_u32) += 1;
        }
        counts.into_values().map(f64::from).collect::<Vec<_>>()
    };
    // In the order of their rank, since that is the order of their names.
    let harmonic = often(1.0);
    for (rank, expected) in [(2_u32, 2.0), (4, 4.0), (10, 10.0)] {
        let ratio = harmonic[0] / harmonic[rank as usize - 1];
        assert!((ratio / expected - 1.0).abs() < 0.05, "rank {rank}: {ratio}");
    }
    let alike = often(0.0);
    assert!(alike.len() == 1000 && alike.iter().all(|count| (700.0..1300.0).contains(count)));
}

#[test]
fn fresh_keys_are_all_different_and_go_on_beyond_nine() {
    let (mut one, mut two) = (Fresh::of("", 1), Fresh::of("", 2));
    let mut all: Vec<String> = (0..1100).map(|_| one.next().to_owned()).collect();
    assert_eq!(all[1099], "invoice:0001:00000001100");
    all.push(two.next().to_owned());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1101);
}

#[test]
fn runs_on_one_store_do_not_meet_if_each_is_within_a_prefix_of_its_own() {
    let engine = engine();
    for prefix in ["first ", "second "] {
        let crowd = Crowd::of_threads(2).length(SHORT).within(prefix);
        crowd.fresh(&engine);
        crowd.refused(&engine);
        let mixed = crowd.on_keys(&engine, &Keys::recorded(["a".to_owned(), "b".to_owned()]));
        assert_eq!(mixed.told.granted, 2, "{mixed}");
    }
}
