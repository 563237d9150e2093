use std::time::Duration;

use lessor_contention::{LeaseService, Reply, Workload};

use super::*;
use crate::check::{is_one_for_many, keeps_its_word};

#[test]
fn every_contender_does_the_work_once_replays_it_and_refuses_what_is_held() {
    keeps_its_word(&lessor(None).expect("an engine"));
    keeps_its_word(&maps::ByHand::<maps::Dash>::new(None));
    keeps_its_word(&maps::ByHand::<maps::Locked>::new(None));
    keeps_its_word(&cache::Moka::new(None));
    is_one_for_many(lessor(None).expect("an engine"));
    is_one_for_many(maps::ByHand::<maps::Dash>::new(None));
    is_one_for_many(maps::ByHand::<maps::Locked>::new(None));
    is_one_for_many(cache::Moka::new(None));
}

#[test]
fn every_contender_wakes_all_who_wait() {
    for contender in &CONTENDERS[..4] {
        let handle = crate::work::runtime().handle();
        let workload = Workload::tasks(50).spawn_with(|task| drop(handle.spawn(task)));
        let sample = run(contender.name, &Work::Waiters, &workload).expect("it runs");
        assert_eq!(sample.replies.completed, 50, "{}", contender.name);
    }
}

#[test]
fn where_purging_is_measured_every_contender_purges() {
    const RETENTION: Option<Duration> = Some(Duration::from_millis(20));
    async fn check(guard: impl LeaseService) {
        let grant = guard.acquire("key", Duration::from_secs(60)).await.acquired("key");
        guard.complete("key", grant, b"result").await;
        while !matches!(guard.acquire("key", Duration::from_secs(60)).await, Reply::Acquired(_)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    lessor::block_on(async {
        check(lessor(RETENTION).expect("an engine")).await;
        check(maps::ByHand::<maps::Dash>::new(RETENTION)).await;
        check(maps::ByHand::<maps::Locked>::new(RETENTION)).await;
        check(cache::Moka::new(RETENTION)).await;
    });
}
