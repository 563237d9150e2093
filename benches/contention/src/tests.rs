#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use lessor::{Engine, MemoryStore};

use crate::keys::{FRESH, NumberedKey};
use crate::recorder::{SharedHistogram, nanos};
use crate::*;

const SHORT: Duration = Duration::from_millis(30);

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(Arc::new(MemoryStore::new())).unwrap())
}

fn workloads() -> [Workload; 4] {
    [Workload::threads(1), Workload::threads(3), Workload::tasks(1), Workload::tasks(100)]
        .map(|workload| workload.duration(SHORT))
}

#[test]
fn each_workload_gets_its_kind_of_reply_on_threads_and_tasks() {
    for workload in workloads() {
        let fresh = workload.fresh_keys(&engine());
        let churned = workload.churn(&engine());
        let renewed = workload.renewals(&engine(), 100);
        for sample in [fresh, churned, renewed] {
            assert!(sample.replies.acquired > 0, "{sample}");
            assert_eq!(sample.replies.total(), sample.replies.acquired, "{sample}");
        }
        let refused = workload.refusals(&engine());
        assert!(refused.replies.in_progress > 0, "{refused}");
        assert_eq!(refused.replies.total(), refused.replies.in_progress, "{refused}");
        let replayed = workload.replays(&engine(), 50);
        assert!(replayed.replies.completed > 0, "{replayed}");
        assert_eq!(replayed.replies.total(), replayed.replies.completed, "{replayed}");
        let handed_over = workload.handovers(&engine(), 50);
        let expected = ReplyCounts { acquired: 50, ..ReplyCounts::default() };
        assert_eq!(handed_over.replies, expected, "{handed_over}");
        for sample in [fresh, churned, renewed, refused, replayed, handed_over] {
            let Latency { p50, p90, p99, p999, max } = sample.latency;
            assert!(p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, "{sample}");
            assert!(max <= sample.elapsed + sample.elapsed / 500, "{sample}");
            assert!(sample.per_second > 0.0);
        }
    }
}

#[test]
fn churn_removes_all_but_the_last_keys_of_each_caller() {
    let store = Arc::new(MemoryStore::new());
    let engine = Arc::new(Engine::new(store.clone()).unwrap());
    Workload::threads(2).duration(SHORT).churn(&engine);
    let (mut kept, mut after) = (0, None);
    loop {
        let page = engine.list().after(after).limit(1000).wait().unwrap();
        kept += page.entries.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(kept, 2 * 1024);
}

#[test]
fn p1_each_key_is_granted_once_and_replayed_to_later_callers() {
    for workload in workloads() {
        let keys = Keys::recorded(["a", "b", "a", "c"].map(str::to_owned));
        let sample = workload.requests(&engine(), &keys);
        assert_eq!(sample.replies.acquired, 3, "{sample}");
        assert!(sample.replies.completed > 0, "{sample}");
    }
}

#[test]
fn all_waiting_callers_receive_the_result_and_the_longest_wait_is_the_elapsed_time() {
    for (workload, count) in [(Workload::threads(3), 3), (Workload::tasks(200), 200)] {
        let sample = workload.waiters(&engine());
        assert_eq!(sample.replies.completed, count, "{sample}");
        let (max, elapsed) = (sample.latency.max, sample.elapsed);
        assert!(elapsed <= max && max <= elapsed + elapsed / 500, "{sample}");
    }
}

/// Grants every request, and returns a wrong result.
struct GrantsTwice;

impl LeaseService for GrantsTwice {
    type Lease = ();
    type Result = Vec<u8>;

    async fn acquire(&self, _: &str, _: Duration) -> Reply<(), Vec<u8>> {
        Reply::Acquired(())
    }
    async fn extend(&self, _: &str, (): &mut (), _: Duration) {}
    async fn complete(&self, _: &str, (): (), _: &[u8]) {}
    async fn wait(&self, _: &str) -> Vec<u8> {
        b"another".to_vec()
    }
}

impl Forget for GrantsTwice {
    async fn forget(&self, _: &str) -> bool {
        false
    }
}

/// Stores another result than the caller's.
struct WrongResult(Engine);

impl LeaseService for WrongResult {
    type Lease = lessor::Lease;
    type Result = Replayed;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Self::Lease, Replayed> {
        LeaseService::acquire(&self.0, key, ttl).await
    }
    async fn extend(&self, _: &str, _: &mut Self::Lease, _: Duration) {}
    async fn complete(&self, key: &str, lease: Self::Lease, _: &[u8]) {
        LeaseService::complete(&self.0, key, lease, b"another").await;
    }
    async fn wait(&self, key: &str) -> Replayed {
        LeaseService::wait(&self.0, key).await
    }
}

type Run<S> = fn(&Workload, &Arc<S>) -> Sample;

fn panics<S>(run: Run<S>, service: S) -> bool {
    let (workload, service) = (Workload::threads(1).duration(SHORT), Arc::new(service));
    catch_unwind(AssertUnwindSafe(|| run(&workload, &service))).is_err()
}

#[test]
fn p3_a_service_that_replays_a_wrong_result_is_refused() {
    let runs: [Run<WrongResult>; 3] = [
        |workload, service| workload.requests(service, &Keys::zipf(3, 1.0)),
        |workload, service| workload.replays(service, 3),
        |workload, service| workload.waiters(service),
    ];
    for run in runs {
        assert!(panics(run, WrongResult(Engine::new(Arc::new(MemoryStore::new())).unwrap())));
    }
}

#[test]
fn p1_a_service_that_grants_a_key_twice_is_refused() {
    let runs: [Run<GrantsTwice>; 3] = [
        |workload, service| workload.refusals(service),
        |workload, service| workload.requests(service, &Keys::zipf(10, 1.0)),
        |workload, service| workload.replays(service, 3),
    ];
    for run in runs {
        assert!(panics(run, GrantsTwice));
    }
}

#[test]
fn a_service_that_does_not_keep_completed_keys_is_refused_by_churn() {
    assert!(panics(|workload, service| workload.churn(service), GrantsTwice));
}

#[test]
fn a_percentile_is_the_least_latency_that_so_many_operations_did_not_exceed() {
    let histogram = SharedHistogram::default();
    histogram.record_all(&(1..=50).rev().map(|ms| nanos(Duration::from_millis(ms))).collect::<Vec<_>>());
    let Latency { p50, p90, p99, p999, max } = histogram.latency();
    for (found, expected) in [p50, p90, p99, p999, max].into_iter().zip([25, 45, 50, 50, 50]) {
        let expected = Duration::from_millis(expected);
        assert!(found >= expected && found <= expected + expected / 1000, "{found:?} {expected:?}");
    }
}

#[test]
fn a_run_with_a_limit_ends_after_this_number_of_requests() {
    let workload = Workload::threads(3).duration(Duration::from_secs(600)).max_requests(90);
    assert_eq!(workload.requests(&engine(), &Keys::zipf(10, 1.0)).replies.total(), 90);
}

#[test]
fn a_key_is_requested_as_often_as_its_rank_requires() {
    let counts = |exponent| {
        let (keys, mut counts) = (Keys::zipf(1000, exponent), BTreeMap::new());
        assert_eq!(keys.count(), 1000);
        for n in 0..1_000_000 {
            *counts.entry(keys.draw(0, n).to_owned()).or_insert(0_u32) += 1;
        }
        counts.into_values().map(f64::from).collect::<Vec<_>>()
    };
    // The order of the names is the order of the ranks.
    let harmonic = counts(1.0);
    for (rank, expected) in [(2_u32, 2.0), (4, 4.0), (10, 10.0)] {
        let ratio = harmonic[0] / harmonic[rank as usize - 1];
        assert!((ratio / expected - 1.0).abs() < 0.05, "rank {rank}: {ratio}");
    }
    let uniform = counts(0.0);
    assert!(uniform.len() == 1000 && uniform.iter().all(|count| (700.0..1300.0).contains(count)));
}

#[test]
fn numbered_keys_are_all_different_and_carry_over() {
    let (mut one, mut two) = (NumberedKey::new("", FRESH, 1), NumberedKey::new("", FRESH, 2));
    let mut all: Vec<String> = (0..1100).map(|_| one.next().to_owned()).collect();
    assert_eq!(all[1099], "invoice:0001:00000001100");
    assert_eq!(one.set(1100), all[1099]);
    all.push(two.next().to_owned());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1101);
}

#[test]
fn runs_with_different_prefixes_can_share_a_store() {
    let engine = engine();
    for prefix in ["first ", "second "] {
        let workload = Workload::threads(2).duration(SHORT).key_prefix(prefix);
        workload.fresh_keys(&engine);
        workload.refusals(&engine);
        workload.replays(&engine, 10);
        let mixed = workload.requests(&engine, &Keys::recorded(["a".to_owned(), "b".to_owned()]));
        assert_eq!(mixed.replies.acquired, 2, "{mixed}");
    }
}
