//! Tests that all contenders give the same replies.

use std::sync::Arc;
use std::time::Duration;

use lessor::block_on;
use lessor_contention::{Forget, Keys, LeaseService, Reply, Workload};

const TTL: Duration = Duration::from_secs(60);
const SHORT_TTL: Duration = Duration::from_millis(1);

/// Checks that a key is executed once, and its result is replayed. A held key is refused until its
/// lease lapses.
pub(crate) fn refuses_then_replays(service: &impl LeaseService) {
    block_on(async {
        let lease = service.acquire("one", TTL).await.acquired("one");
        assert!(matches!(service.acquire("one", TTL).await, Reply::InProgress));
        service.complete("one", lease, b"result").await;
        match service.acquire("one", TTL).await {
            Reply::Completed(result) => assert_eq!(result.as_ref(), b"result"),
            other => panic!("{other:?}"),
        }
        assert_eq!(service.wait("one").await.as_ref(), b"result");
        refuses(service).await;
        let lapsed = service.acquire_all(&["four".to_owned()], SHORT_TTL).await;
        std::thread::sleep(5 * SHORT_TTL);
        let lease = service.acquire("four", TTL).await.acquired("four");
        assert!(matches!(service.acquire("four", TTL).await, Reply::InProgress));
        service.complete("four", lease, b"second").await;
        match service.acquire("four", TTL).await {
            Reply::Completed(result) => assert_eq!(result.as_ref(), b"second"),
            other => panic!("{other:?}"),
        }
        drop(lapsed);
    });
}

/// Checks that a held key is refused, also after an extension. For services that keep no results
/// and do not support leases as short as a millisecond.
pub(crate) async fn refuses(service: &impl LeaseService) {
    let keys = ["two", "three"].map(str::to_owned);
    let mut held = service.acquire_all(&keys, TTL).await;
    assert!(matches!(service.acquire("three", TTL).await, Reply::InProgress));
    service.extend("three", &mut held[1], TTL).await;
    assert!(matches!(service.acquire("three", TTL).await, Reply::InProgress));
}

/// Checks that a completed key can be removed, and is free then. A held key and an unknown one are
/// not removed.
pub(crate) fn forgets_completed_keys_only(service: impl Forget) {
    block_on(async {
        let lease = service.acquire("one", TTL).await.acquired("one");
        service.complete("one", lease, b"result").await;
        assert!(service.forget("one").await);
        assert!(!service.forget("one").await);
        let lease = service.acquire("one", TTL).await.acquired("one");
        assert!(!service.forget("one").await);
        service.complete("one", lease, b"again").await;
        match service.acquire("one", TTL).await {
            Reply::Completed(result) => assert_eq!(result.as_ref(), b"again"),
            other => panic!("{other:?}"),
        }
    });
}

/// Checks that each key is granted once if several threads request the same keys.
pub(crate) fn grants_each_key_once<S: LeaseService>(service: S) {
    let keys = Keys::recorded((0..50).chain(0..50).map(|n| format!("many {n}")));
    let (service, workload) = (Arc::new(service), Workload::threads(4).duration(Duration::from_millis(100)));
    let mut acquired = 0;
    while acquired < 50 {
        acquired += workload.requests(&service, &keys).replies.acquired;
    }
    assert_eq!(acquired + workload.requests(&service, &keys).replies.acquired, 50);
}
