//! Operators that end a live grant.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, Lease, State};
use lessor_memory::MemoryStore;

const AT_ONCE: Duration = Duration::from_secs(60);

fn engine() -> Engine {
    Engine::new(Arc::new(MemoryStore::new())).unwrap()
}

fn take(engine: &Engine) -> Lease {
    match engine.acquire("key").wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Waits until the lease is lost. Its ttl is longer than the test waits.
fn is_told(lost: lessor_core::Pending<()>) -> bool {
    let (told, is_told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        lost.wait();
        let _ = told.send(());
    });
    is_told.recv_timeout(AT_ONCE).is_ok()
}

#[test]
fn a_holder_is_told_at_once_that_an_operator_has_resolved_its_key_by_force() {
    let engine = engine();
    let resolve = |how: fn(
        lessor_core::Resolve<'_>,
    ) -> lessor_core::Pending<Result<lessor_core::Ack, Error>>| {
        let lease = take(&engine);
        let lost = lease.lost();
        assert!(matches!(how(engine.resolve("key")).wait(), Err(Error::Busy { .. })));
        assert!(!lease.is_lost());
        how(engine.resolve("key").forced()).wait().unwrap();
        assert!(lease.is_lost());
        assert!(is_told(lost));
        assert!(
            matches!(lease.complete(&1).wait(), Err(Error::NotHolder { token, .. }) if token == lease.token())
        );
        assert!(matches!(lease.extend(AT_ONCE).wait(), Err(Error::NotHolder { .. })));
        let view = engine.status("key").wait().unwrap().unwrap();
        engine.forget("key").wait().unwrap();
        view
    };
    assert_eq!(resolve(|how| how.completed(&7)).result::<u8>().unwrap(), 7);
    assert_eq!(resolve(|how| how.failed("wrong")).error_code(), Some("wrong"));
    assert_eq!(resolve(|how| how.failed_with("wrong", "all of it")).error_detail(), Some("all of it"));
    assert_eq!(resolve(|how| how.canceled(None)).error_code(), Some("canceled"));
    assert_eq!(resolve(|how| how.released()).state(), State::Released);
}

#[test]
fn a_key_that_an_operator_cancels_fails_with_the_reason_even_while_its_lease_is_live() {
    let engine = engine();
    let lease = take(&engine);
    let lost = lease.lost();
    engine.cancel("key", Some("by user")).wait().unwrap();
    assert!(lease.is_lost() && is_told(lost));
    let Acquisition::Failed(view) = engine.acquire("key").wait().unwrap() else { panic!("not canceled") };
    assert_eq!(view.error_code(), Some("canceled:by user"));
    assert!(matches!(engine.cancel("key", None).wait(), Err(Error::Finished { .. })));
    assert!(matches!(engine.cancel("other", None).wait(), Err(Error::NotFound)));
}

/// A lease that is dropped after that changes nothing.
#[test]
fn a_superseded_holder_that_is_gone_does_not_change_the_outcome() {
    let engine = engine();
    let lease = take(&engine);
    engine.resolve("key").forced().completed(&7).wait().unwrap();
    let version = engine.status("key").wait().unwrap().unwrap().version();
    drop(lease);
    assert!(engine.close(AT_ONCE).wait().unwrap().is_complete());
    assert_eq!(engine.status("key").wait().unwrap().unwrap().version(), version);
}
