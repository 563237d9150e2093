//! Refused operations change nothing.

use lessor_core::{Error, Key};

use super::Factory;
use super::stays_open::StaysOpen;
use super::tools::*;

/// Operations without the lease id, and of operators without force, leave a live record unchanged.
pub fn p4_refused_operations_leave_a_live_record_unchanged(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG).fingerprint("request"));
    let before = bytes(&**subject.store(), "k");
    let stranger = engine.lease_handle("k", lease_id()).expect("a valid key");
    let answers = [
        stranger.extend(LONG).wait(),
        stranger.checkpoint(&1).wait(),
        stranger.complete(&1).wait(),
        stranger.fail("code").wait(),
        stranger.cancel(None).wait(),
        stranger.release().wait(),
        stranger.abandon().wait(),
        stranger.leave_in_doubt().wait(),
        stranger.fail_retryable("code", LONG).wait(),
    ];
    for answer in answers {
        let error = refusal(answer);
        assert!(matches!(error, Error::NotHolder { token, .. } if token == lease.token()), "{error:?}");
        assert_eq!(bytes(&**subject.store(), "k"), before);
    }
    assert!(matches!(engine.forget("k").wait(), Err(Error::Busy { .. })));
    assert!(engine.resolve("k").completed(&1).wait().is_err());
    assert!(engine.resolve("k").released().wait().is_err());
    let view = refused(engine.acquire("k"));
    assert!(view.ttl_left() <= Some(LONG) && view.retry_after() <= Some(std::time::Duration::from_secs(5)));
    assert_eq!(bytes(&**subject.store(), "k"), before);
    lease.release().wait().expect("the lease is still the holder's");
}

/// An operator can give a key its outcome although its lease is live. The holder is superseded: its
/// operations change nothing.
pub fn a_resolution_by_force_supersedes_the_holder(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let leases = ["done", "failed", "back"].map(|key| take(engine.acquire(key).ttl(LONG)));
    engine.resolve("done").forced().completed(&1).wait().expect("it is forced");
    engine.cancel("failed", Some("no need")).wait().expect("it is forced");
    engine.resolve("back").forced().released().wait().expect("it is forced");
    assert_eq!(status(&engine, "done").result::<u8>().ok(), Some(1));
    assert_eq!(status(&engine, "failed").error_code(), Some("canceled:no need"));
    for lease in leases {
        let key = lease.key();
        let before = bytes(&**subject.store(), key);
        let handle = engine.lease_handle(key, *lease.lease_id()).expect("a valid key");
        for answer in [
            handle.extend(LONG).wait(),
            lease.checkpoint(&1).wait(),
            handle.complete(&1).wait(),
            handle.cancel(Some("no need")).wait(),
            lease.release().wait(),
            handle.abandon().wait(),
            handle.leave_in_doubt().wait(),
        ] {
            let error = refusal(answer);
            assert!(matches!(error, Error::NotHolder { token, .. } if token == lease.token()), "{error:?}");
            assert_eq!(bytes(&**subject.store(), key), before);
        }
    }
    let next = take(engine.acquire("back"));
    assert_eq!(next.attempt(), 2);
}

/// The operations of a holder whose lease was taken over change nothing, and return the successor's
/// token.
pub fn p4_a_superseded_holder_changes_nothing(factory: Factory<'_>) {
    let subject = factory().map_store(StaysOpen::over);
    let engine = subject.engine();
    let stale = take(engine.acquire("k").ttl(SHORT));
    subject.advance(OUTLIVE);
    let holder = take(engine.acquire("k").ttl(LONG));
    let mut before = bytes(&**subject.store(), "k");
    let mut check = |finished: bool| {
        if finished {
            before = bytes(&**subject.store(), "k");
        }
        for answer in [
            stale.extend(LONG).wait(),
            stale.checkpoint(&"stale").wait(),
            stale.complete(&"stale").wait(),
            stale.fail("stale").wait(),
            stale.release().wait(),
            stale.abandon().wait(),
        ] {
            let error = refusal(answer);
            assert!(matches!(error, Error::NotHolder { token, .. } if token == holder.token()), "{error:?}");
        }
        assert_eq!(bytes(&**subject.store(), "k"), before);
    };
    check(false);
    holder.complete(&"the successor's").wait().expect("the successor may complete it");
    check(true);
    drop(stale);
    assert!(engine.close(LONG).wait().unwrap().gave_up);
    assert_eq!(status(&engine, "k").result::<String>().expect("there is a result"), "the successor's");
}

/// An acquire of the same key for another request is refused in every state.
pub fn p4_another_fingerprint_is_refused(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG).fingerprint("one"));
    let check = || {
        let before = bytes(&**subject.store(), "k");
        let refused = engine.acquire("k").fingerprint("another").wait();
        assert!(matches!(refused, Err(Error::FingerprintMismatch)), "{refused:?}");
        assert_eq!(bytes(&**subject.store(), "k"), before);
    };
    check();
    lease.complete(&1).wait().expect("the holder may complete it");
    check();
    assert!(refused(engine.acquire("k").fingerprint("one")).is_finished());
    assert!(refused(engine.acquire("k")).is_finished());
}

/// Results, checkpoints and metadata over the limits are refused before anything is written.
pub fn p4_oversized_values_are_refused_before_any_write(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine_with(|settings| {
        settings.limits.max_result = 100;
        settings.limits.max_checkpoint = 50;
        settings.limits.max_metadata = 20;
    });
    let big = std::collections::BTreeMap::from([("a", "x".repeat(20))]);
    let answer = engine.acquire("k").metadata(&big).wait();
    assert!(matches!(answer, Err(Error::TooLarge { limit: 20, .. })), "{answer:?}");
    assert!(engine.acquire("k").metadata("not an object").wait().is_err());
    assert!(engine.acquire("k").ttl(std::time::Duration::ZERO).wait().is_err());
    assert!(engine.acquire("k").ttl(std::time::Duration::MAX).wait().is_err());
    assert_eq!(stored(&**subject.store(), "k"), None);
    let lease = take(engine.acquire("k").ttl(LONG));
    let before = bytes(&**subject.store(), "k");
    for answer in [lease.complete_bytes(&[0; 101]).wait(), lease.checkpoint_bytes(&[0; 51]).wait()] {
        assert!(matches!(answer, Err(Error::TooLarge { .. })), "{answer:?}");
    }
    assert!(lease.fail("").wait().is_err() && lease.fail(&"x".repeat(257)).wait().is_err());
    assert!(lease.complete_bytes_as(b"", Some(&"x".repeat(129))).wait().is_err());
    assert_eq!(bytes(&**subject.store(), "k"), before);
    lease.checkpoint_bytes(&[0; 50]).wait().expect("it is within the limit");
    lease.complete_bytes(&[0; 100]).wait().expect("it is within the limit");
}

/// A holder's operation on a key without a record is refused and creates none.
pub fn p4_operations_on_a_key_without_a_record_are_refused(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let nobody = engine.lease_handle("k", lease_id()).expect("a valid key");
    for answer in [
        nobody.extend(LONG).wait(),
        nobody.checkpoint(&1).wait(),
        nobody.complete(&1).wait(),
        nobody.fail("code").wait(),
        nobody.release().wait(),
        nobody.abandon().wait(),
        engine.resolve("k").released().wait(),
    ] {
        assert!(matches!(answer, Err(Error::NotFound)), "{answer:?}");
    }
    assert!(!engine.forget("k").wait().expect("there is nothing to forget"));
    assert_eq!(stored(&**subject.store(), "k"), None);
}

/// Malformed keys are refused by every operation and never reach the store.
pub fn p12_malformed_keys_are_refused(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    for bad in ["", " ", "a\nb", "\0", "\u{7f}", &"x".repeat(257)] {
        assert!(Key::new(bad).is_err());
        assert!(matches!(engine.acquire(bad).wait(), Err(Error::Key(_))));
        assert!(matches!(engine.status(bad).wait(), Err(Error::Key(_))));
        assert!(matches!(engine.forget(bad).wait(), Err(Error::Key(_))));
        assert!(matches!(engine.wait_for(bad, LONG).wait(), Err(Error::Key(_))));
        assert!(matches!(engine.resolve(bad).released().wait(), Err(Error::Key(_))));
        assert!(engine.lease_handle(bad, lease_id()).is_err());
    }
    assert_eq!(list(&**subject.store(), "", 10), []);
}
