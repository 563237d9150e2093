use std::time::Duration;

use lessor_contention::{Forget, LeaseService, Reply, Workload};

use super::*;
use crate::check::{forgets_completed_keys_only, grants_each_key_once, refuses_then_replays};

const TTL: Duration = Duration::from_secs(60);

/// Calls `$check` with a new service of each contender but the bare map.
macro_rules! each {
    ($check:expr, $retention:expr) => {
        $check(lessor($retention).expect("an engine"));
        $check(ByHand::<maps::Dash>::new($retention));
        $check(ByHand::<maps::Scc>::new($retention));
        $check(ByHand::<maps::Locked>::new($retention));
        $check(ByHand::<maps::Quick>::new($retention));
        $check(cache::Moka::new($retention));
    };
}

#[test]
fn every_contender_grants_each_key_once_and_replays_and_refuses_it() {
    fn check(service: impl LeaseService) {
        refuses_then_replays(&service);
    }
    each!(check, None);
    each!(grants_each_key_once, None);
}

#[test]
fn every_contender_forgets_completed_keys_only() {
    each!(forgets_completed_keys_only, None);
}

#[test]
fn every_contender_notifies_all_waiting_callers() {
    for contender in CONTENDERS.iter().filter(|contender| !contender.is_reference) {
        let handle = crate::work::runtime().handle();
        let workload = Workload::tasks(50).spawn_with(|task| drop(handle.spawn(task)));
        let sample = run(contender.name, &Work::Waiters, &workload).expect("it runs");
        assert_eq!(sample.replies.completed, 50, "{}", contender.name);
    }
}

#[test]
fn every_contender_of_the_purge_workload_purges() {
    fn check(service: impl LeaseService) {
        lessor::block_on(async {
            let lease = service.acquire("key", TTL).await.acquired("key");
            service.complete("key", lease, b"result").await;
            while !matches!(service.acquire("key", TTL).await, Reply::Acquired(_)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    each!(check, Some(Duration::from_millis(20)));
}

/// A cache that evicted a key would grant it a second time.
#[test]
fn no_contender_loses_a_key_among_many() {
    const KEYS: u64 = 50_000;
    fn check(service: impl Forget) {
        lessor::block_on(async {
            for n in 0..KEYS {
                let key = n.to_string();
                let lease = service.acquire(&key, TTL).await.acquired(&key);
                service.complete(&key, lease, b"result").await;
            }
            for n in 0..KEYS {
                let reply = service.acquire(&n.to_string(), TTL).await;
                assert!(matches!(reply, Reply::Completed(_)), "{n}: {reply:?}");
            }
        });
    }
    each!(check, None);
}
