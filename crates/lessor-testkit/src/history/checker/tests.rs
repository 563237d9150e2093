use lessor_core::{LeaseId, OnFailed, OnLapsed};

use super::*;
use crate::model::{AcquireArgs, Refusal};

const LONG: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    ManualClock::new().now()
}

fn id(number: u8) -> LeaseId {
    LeaseId::from_bytes([number; 16])
}

fn acquire(number: u8) -> Op {
    Op::Acquire(AcquireArgs {
        id: id(number),
        ttl: LONG,
        holder: None,
        metadata: None,
        fingerprint: None,
        on_failed: OnFailed::Replay,
        backoff: Duration::ZERO,
        on_lapsed: OnLapsed::TakeOver,
    })
}

fn complete(number: u8) -> Op {
    Op::Complete { id: id(number), result: vec![number], hash: None }
}

fn checkpoint(number: u8, byte: u8) -> Op {
    Op::Checkpoint { id: id(number), bytes: vec![byte] }
}

fn event(called: u64, answered: u64, op: Op, answer: Answer) -> Event {
    Event { called, answered: Some((answered, answer)), times: vec![now()], op }
}

fn model() -> Model {
    Model::new(LONG)
}

/// Returns the model's answer to `op` after `before`.
fn answer_to(before: &[Op], op: &Op) -> Answer {
    let mut model = model();
    for op in before {
        model.apply(op, now());
    }
    model.apply(op, now())
}

#[test]
fn p8_operations_at_the_same_time_may_come_in_either_order() {
    let refused = answer_to(&[acquire(2)], &acquire(1));
    let granted = answer_to(&[], &acquire(2));
    let overlapping = [event(0, 2, acquire(1), refused.clone()), event(1, 3, acquire(2), granted.clone())];
    check(&overlapping, &model()).unwrap();
    // The refused acquire was answered before the other was called.
    let apart = [event(0, 1, acquire(1), refused), event(2, 3, acquire(2), granted)];
    check(&apart, &model()).unwrap_err();
}

#[test]
fn p8_two_winners_are_rejected() {
    let won = answer_to(&[], &acquire(1));
    let history = [event(0, 2, acquire(1), won.clone()), event(1, 3, acquire(2), won)];
    check(&history, &model()).unwrap_err();
}

#[test]
fn p8_a_stale_read_is_rejected() {
    let granted = answer_to(&[], &acquire(1));
    let done = answer_to(&[acquire(1)], &complete(1));
    let stale = answer_to(&[acquire(1)], &Op::Status);
    let history = |read_called| {
        [
            event(0, 1, acquire(1), granted.clone()),
            event(2, 4, complete(1), done.clone()),
            event(read_called, 6, Op::Status, stale.clone()),
        ]
    };
    check(&history(5), &model()).unwrap_err();
    // If it was called before the completion was answered, it is not stale.
    check(&history(3), &model()).unwrap();
}

#[test]
fn p8_a_lost_update_is_rejected() {
    let granted = answer_to(&[], &acquire(1));
    let first = answer_to(&[acquire(1)], &checkpoint(1, 1));
    // Both answers claim version 2.
    let history = [
        event(0, 1, acquire(1), granted),
        event(2, 4, checkpoint(1, 1), first.clone()),
        event(3, 5, checkpoint(1, 2), first),
    ];
    check(&history, &model()).unwrap_err();
}

#[test]
fn p8_a_version_that_skips_is_rejected() {
    let granted = answer_to(&[], &acquire(1));
    let third = answer_to(&[acquire(1), checkpoint(1, 1)], &checkpoint(1, 2));
    let history = [event(0, 1, acquire(1), granted), event(2, 3, checkpoint(1, 2), third)];
    check(&history, &model()).unwrap_err();
}

#[test]
fn p8_a_grant_taken_over_too_early_is_rejected() {
    let granted = answer_to(&[], &acquire(1));
    let late = now().saturating_add(LONG);
    let mut then = model();
    then.apply(&acquire(1), now());
    let taken_over = then.apply(&acquire(2), late);
    let history = |times| {
        let takeover = Event { times, ..event(2, 3, acquire(2), taken_over.clone()) };
        [event(0, 1, acquire(1), granted.clone()), takeover]
    };
    check(&history(vec![now(), late]), &model()).unwrap();
    check(&history(vec![now()]), &model()).unwrap_err();
}

#[test]
fn p8_what_was_never_answered_may_have_happened_or_not() {
    let granted = answer_to(&[], &acquire(1));
    let lost = Event { answered: None, ..event(2, 3, complete(1), Answer::Forgotten(false)) };
    for seen in [answer_to(&[acquire(1)], &Op::Status), answer_to(&[acquire(1), complete(1)], &Op::Status)] {
        let read = event(4, 5, Op::Status, seen);
        check(&[event(0, 1, acquire(1), granted.clone()), lost.clone(), read], &model()).unwrap();
    }
    let nothing = event(4, 5, Op::Status, Answer::Status(None));
    check(&[event(0, 1, acquire(1), granted), lost, nothing], &model()).unwrap_err();
}

#[test]
fn p12_a_history_that_is_too_long_is_refused() {
    let refused = Answer::Refused(Refusal::NotFound);
    let long: Vec<_> =
        (0..=MAX_OPERATIONS as u64).map(|n| event(2 * n, 2 * n + 1, complete(1), refused.clone())).collect();
    assert!(check(&long, &model()).unwrap_err().contains("too long"));
    check(&long[..MAX_OPERATIONS], &model()).unwrap();
}
