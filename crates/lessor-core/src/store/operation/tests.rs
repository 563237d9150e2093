use super::*;
use crate::rules::tests::plain::{Plain, at};

/// An engine that cannot generate lease ids.
struct NoIds;

impl EngineParts for NoIds {
    fn draw_lease_id(&self) -> Result<LeaseId, Error> {
        Err(no_lease_id())
    }

    fn default_holder(&self) -> Option<&str> {
        None
    }

    fn is_watched(&self, _: &Key) -> bool {
        false
    }
}

fn acquire() -> Acquire {
    Acquire::new(LeaseId::from_bytes([0; 16]), Duration::from_secs(60))
}

/// Passes an operation without a lease id to `run`. Returns whether it was refused because none can
/// be generated.
fn without_id(run: impl FnOnce(&mut Operation<'_>)) -> bool {
    let (mut acquire, mut made, mut is_refused) = (acquire(), None, false);
    let mut sink = |report: Report<'_>| match report {
        Report::Refused(Error::Randomness(_)) => is_refused = true,
        other => unreachable!("{}", matches!(other, Report::Granted(_))),
    };
    let kept = Duration::from_secs(1);
    run(&mut Operation::acquire(&NoIds, kept.into(), "key", &mut made, &mut acquire, false, &mut sink));
    is_refused
}

/// A grant under the placeholder id would belong to every caller without an id.
#[test]
fn p1_nothing_is_granted_without_a_lease_id() {
    let mut slot = None;
    assert!(without_id(|operation| {
        assert!(!operation.apply((&mut slot).into(), None, at(1_000_000)).is_write());
    }));
    assert!(slot.is_none());
    without_id(|operation| {
        let owned = operation.to_owned();
        let executed = owned.apply((&mut slot).into(), None, at(1_000_000));
        assert!(matches!(executed.outcome, Outcome::Refused(Error::Randomness(_))));
        assert!(matches!(owned.decide(None, at(1_000_000)), Decision::Refuse(Error::Randomness(_))));
        assert!(operation.lease_id().is_none());
    });
    assert!(slot.is_none());
}

/// A refusal needs no lease id, so it is returned although none can be generated.
#[test]
fn a_refusal_draws_no_lease_id() {
    let held = Plain::granted().record();
    let (mut acquire, mut made, mut stands) = (acquire(), None, false);
    let mut sink = |report: Report<'_>| stands = matches!(report, Report::Stands(..));
    let kept = Duration::from_secs(1);
    let mut operation =
        Operation::acquire(&NoIds, kept.into(), "key", &mut made, &mut acquire, false, &mut sink);
    let now = held.body().acquired_at;
    assert!(operation.answer(&held, now).is_some_and(|answered| !answered.is_write()));
    assert!(stands);
}

/// The in-memory store executes operations without dropping anything.
#[test]
fn an_operation_has_nothing_to_drop() {
    assert!(!std::mem::needs_drop::<Operation<'_>>());
}
