//! Whoever is compared does the same work.

use std::sync::Arc;
use std::time::Duration;

use lessor::block_on;
use lessor_contention::{Keys, LeaseService, Reply, Workload};

const TTL: Duration = Duration::from_secs(60);

/// The work of a key is done once and replayed; who asks for one that is held is refused, until its time is over.
pub(crate) fn keeps_its_word(guard: &impl LeaseService) {
    block_on(async {
        let grant = guard.acquire("one", TTL).await.acquired("one");
        assert!(matches!(guard.acquire("one", TTL).await, Reply::InProgress));
        guard.complete("one", grant, b"result").await;
        match guard.acquire("one", TTL).await {
            Reply::Completed(result) => assert_eq!(result.as_ref(), b"result"),
            other => panic!("{other:?}"),
        }
        assert_eq!(guard.wait("one").await.as_ref(), b"result");
        refuses(guard).await;
        let gone = guard.acquire_all(&["four".to_owned()], Duration::from_millis(1)).await;
        std::thread::sleep(Duration::from_millis(5));
        let taken_over = guard.acquire("four", TTL).await.acquired("four");
        drop((gone, taken_over));
    });
}

/// What is left of that for who keeps no result, and holds nothing as short as a millisecond.
pub(crate) async fn refuses(guard: &impl LeaseService) {
    let keys = ["two", "three"].map(str::to_owned);
    let mut held = guard.acquire_all(&keys, TTL).await;
    assert!(matches!(guard.acquire("three", TTL).await, Reply::InProgress));
    guard.extend("three", &mut held[1], TTL).await;
    assert!(matches!(guard.acquire("three", TTL).await, Reply::InProgress));
}

/// Each key of several threads is worked on once.
pub(crate) fn is_one_for_many<G: LeaseService>(guard: G) {
    let keys = Keys::recorded((0..50).chain(0..50).map(|n| format!("many {n}")));
    let (guard, workload) = (Arc::new(guard), Workload::threads(4).duration(Duration::from_millis(100)));
    let mut granted = 0;
    while granted < 50 {
        granted += workload.requests(&guard, &keys).replies.acquired;
    }
    assert_eq!(granted + workload.requests(&guard, &keys).replies.acquired, 50);
}
