//! Outcomes carry the time of their write.

use std::sync::Arc;
use std::time::Duration;

use lessor_core::rules::{Command, Decision, HolderCommand, decide};
use lessor_core::store::CasResult;
use lessor_core::{Clock, Engine};

use super::Factory;
use super::tools::*;
use crate::faulty::Level;
use crate::jumping::Jumps;

/// An outcome that is written later than it was decided is stored unchanged, or as
/// `ConditionalWrite::stamped` returns it. The reply states which.
pub fn the_reply_to_an_outcome_matches_the_stored_record(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (grant, holder) = granted(now, LONG);
    put(store, &key, &grant);
    let Decision::Write(write, _) =
        decide(Some(&grant), &Command::Holder(holder, HolderCommand::Release), now, LONG)
    else {
        unreachable!("a live lease can be released")
    };
    subject.advance(Duration::from_millis(5));
    let swap = swap(store, &key, write.change(Some(&grant)));
    let seen = load(store, &key);
    let stored = seen.record.expect("it was stored");
    match swap {
        CasResult::Written => assert_eq!(stored, write.next),
        CasResult::WrittenAs(record) => {
            assert_eq!(stored, record, "the answer shows another record than was stored");
            assert!(stored.same_write(&write.next), "a stamp changes nothing but the time");
            let done_at = stored.done_at().expect("it was released");
            assert!(done_at >= now.saturating_add(Duration::from_millis(5)) && done_at <= seen.now);
            assert_eq!(stored.keep_until(), done_at.saturating_add(LONG));
        }
        other => unreachable!("the lease lives: {other:?}"),
    }
}

/// A write without an outcome is stored unchanged, independent of the time of its decision.
pub fn a_write_without_an_outcome_is_stored_unchanged(factory: Factory<'_>) {
    let subject = factory();
    let (store, key, now) = (&**subject.store(), key("k"), subject.now());
    let (grant, holder) = granted(now, LONG);
    put(store, &key, &grant);
    let next = changed(&grant, holder, now);
    subject.advance(Duration::from_millis(5));
    let end = Some(grant.expires_at());
    let change = change(Some(&grant), &next).with_window(None, end);
    assert!(matches!(swap(store, &key, change), CasResult::Written));
    assert_eq!(load(store, &key).record, Some(next));
}

/// A completion was decided while the lease was live, and written five seconds after it had lapsed.
/// It was marked as not late, and carried the time of the decision.
pub fn lateness_is_decided_at_the_write(factory: Factory<'_>) {
    for level in [Level::Operations, Level::Swaps] {
        for (jump, late) in [(Duration::from_millis(300), false), (Duration::from_secs(5), true)] {
            let subject = factory();
            let Some(clock) = subject.exact_clock("lateness_is_decided_at_the_write") else { return };
            let (store, jumps) = Jumps::over(Arc::clone(subject.store()), clock.clone(), level);
            let engine = Engine::new(Arc::clone(&store)).expect("an engine");
            for outcome in ["complete", "fail", "release"] {
                let lease = take(engine.acquire(outcome).ttl(Duration::from_secs(10)));
                clock.advance(Duration::from_secs(8));
                jumps.jump([jump]);
                let ack = match outcome {
                    "complete" => lease.complete("result").wait(),
                    "fail" => lease.fail("code").wait(),
                    _ => lease.release().wait(),
                };
                let ack = ack.expect("nobody else has the key");
                assert_eq!(ack.is_late(), late, "{outcome} after {jump:?}");
                let record = stored(&*store, outcome).expect("it was stored");
                let done_at = record.done_at().expect("it is over");
                assert_eq!(done_at >= record.expires_at(), late, "{outcome} after {jump:?}: {record:?}");
                let off = clock.now().saturating_since(done_at);
                assert!(off <= Duration::from_secs(1), "{outcome}: {off:?} before its write");
                assert_eq!(record.version().as_u64(), 2, "P10");
            }
        }
    }
}
