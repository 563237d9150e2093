use std::time::Duration;

use lessor_contention::{Forget, LeaseService, Reply, Workload};

use super::*;
use crate::check::{forgets_completed_keys_only, is_one_for_many, keeps_its_word};

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
fn every_contender_does_the_work_once_replays_it_and_refuses_what_is_held() {
    fn check(service: impl LeaseService) {
        keeps_its_word(&service);
    }
    each!(check, None);
    each!(is_one_for_many, None);
}

#[test]
fn every_contender_forgets_completed_keys_only() {
    each!(forgets_completed_keys_only, None);
}

#[test]
fn every_contender_wakes_all_who_wait() {
    for contender in CONTENDERS.iter().filter(|contender| !contender.is_reference) {
        let handle = crate::work::runtime().handle();
        let workload = Workload::tasks(50).spawn_with(|task| drop(handle.spawn(task)));
        let sample = run(contender.name, &Work::Waiters, &workload).expect("it runs");
        assert_eq!(sample.replies.completed, 50, "{}", contender.name);
    }
}

#[test]
fn where_purging_is_measured_every_contender_purges() {
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
fn no_contender_drops_a_key_of_many() {
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
