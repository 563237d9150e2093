//! The library's rules, with or without a fault.

use std::time::Duration;

pub(crate) use lessor_core::rules::{Answer, Command, Decision, decide as decide_by_the_rules};
use lessor_core::rules::{HolderCommand, Keep};
use lessor_core::{Error, LeaseId, OnLapsed, Record, Stage, Timestamp};

use crate::bugs::Bug;
use crate::words::{BACKOFF, TTL, payload};

/// The function that the retry loop calls.
pub(crate) fn decide(
    record: Option<&Record>,
    command: &Command,
    now: Timestamp,
    retention: Duration,
) -> Decision {
    // The history changes no answer, and would multiply the states.
    let keep = Keep::new(retention, 0);
    let decide = |record, command: &Command, now| decide_by_the_rules(record, command, now, keep);
    let later = |by: u64| now.saturating_add(Duration::from_micros(by));
    match (Bug::planted(), command, record) {
        (Some(Bug::SupersededHolderIsAccepted), Command::Holder(_, act), Some(held)) => {
            decide(record, &Command::Holder(holder(held), act.clone()), now)
        }
        (Some(Bug::LiveLeaseIsTakenOver), Command::Acquire(_), Some(_)) => {
            without_window(decide(record, command, later(TTL)))
        }
        (Some(Bug::CompletedIsGrantedAgain), Command::Acquire(_), Some(done))
            if done.stage() == Stage::Completed =>
        {
            decide(None, command, now)
        }
        (Some(Bug::FailureIsRetriedTooEarly), Command::Acquire(_), Some(failed))
            if failed.stage() == Stage::Failed =>
        {
            without_window(decide(record, command, later(BACKOFF)))
        }
        (Some(Bug::FingerprintsAreIgnored), Command::Acquire(acquire), Some(_)) => {
            decide(record, &Command::Acquire(acquire.clone().with(|options| options.fingerprint = None)), now)
        }
        (Some(Bug::DoubtIsTakenOver), Command::Acquire(acquire), _) => {
            let acquire = acquire.clone().with(|options| options.on_lapsed = OnLapsed::TakeOver);
            decide(record, &Command::Acquire(acquire), now)
        }
        (Some(Bug::MarkOfDoubtIsTakenOver), Command::Acquire(acquire), _)
            if acquire.options().on_lapsed == OnLapsed::TakeOver =>
        {
            let acquire = acquire.clone().with(|options| options.on_lapsed = OnLapsed::Reconcile);
            decide(record, &Command::Acquire(acquire), now)
        }
        (Some(Bug::TokenIsOnlyTheTime), Command::Acquire(_), Some(free))
            if matches!(free.stage(), Stage::Released | Stage::Forgotten) =>
        {
            decide(None, command, now)
        }
        (Some(Bug::LateOutcomeIsRefused), Command::Holder(id, act), Some(held))
            if is_outcome(act) && held.is_held_by(id) && has_lapsed(held, now) =>
        {
            Decision::Refuse(Error::Lapsed)
        }
        (Some(Bug::LapsedLeaseIsExtended), Command::Holder(_, HolderCommand::Extend { .. }), Some(held))
            if has_lapsed(held, now) =>
        {
            without_window(decide(record, command, held.acquired_at()))
        }
        (Some(Bug::RepeatedOutcomeIsRefused), Command::Holder(_, act), Some(done))
            if is_outcome(act) && done.stage() != Stage::InProgress =>
        {
            Decision::Refuse(Error::Released)
        }
        (Some(Bug::RefusalWrites), Command::Acquire(_), Some(held)) => {
            match (decide(record, command, now), decide(record, &checkpoint(held), now)) {
                (Decision::Answer(answer @ Answer::InProgress(_)), Decision::Write(write, _)) => {
                    Decision::Write(write, answer)
                }
                (decision, _) => decision,
            }
        }
        (Some(Bug::VersionSkips), Command::Holder(_, act), Some(held)) if is_outcome(act) => {
            match decide(record, &checkpoint(held), now) {
                Decision::Write(write, _) => decide(Some(&write.next), command, now),
                _ => decide(record, command, now),
            }
        }
        (Some(Bug::LatenessIsDecidedByTheReading), Command::Holder(_, act), _) if is_outcome(act) => {
            without_window(decide(record, command, now))
        }
        (Some(Bug::ForgetIsAlwaysForced), Command::Forget { .. }, _) => {
            decide(record, &Command::Forget { force: true }, now)
        }
        (Some(Bug::ResolveIsAlwaysForced), Command::Resolve { resolution, .. }, _) => {
            decide(record, &Command::Resolve { resolution: resolution.clone(), force: true }, now)
        }
        (Some(Bug::RepeatedAcquireIsRefused), Command::Acquire(acquire), Some(held))
            if held.is_held_by(&acquire.lease_id) =>
        {
            Decision::Refuse(Error::LeaseIdReused)
        }
        _ => decide(record, command, now),
    }
}

fn is_outcome(act: &HolderCommand) -> bool {
    matches!(act, HolderCommand::Complete(..) | HolderCommand::Fail(_) | HolderCommand::Release)
}

fn has_lapsed(record: &Record, now: Timestamp) -> bool {
    record.stage() == Stage::InProgress && now >= record.expires_at()
}

/// The lease ids of the model are numbers below 256.
fn holder(record: &Record) -> LeaseId {
    let ids = (0..=u8::MAX).map(|id| LeaseId::from_bytes([id; 16]));
    ids.into_iter().find(|id| record.is_held_by(id)).expect("a lease id of the model")
}

fn checkpoint(record: &Record) -> Command {
    Command::Holder(holder(record), HolderCommand::Checkpoint(payload(0)))
}

fn without_window(decision: Decision) -> Decision {
    match decision {
        Decision::Write(mut write, answer) => {
            (write.not_before, write.not_after, write.is_outcome) = (None, None, false);
            Decision::Write(write, answer)
        }
        other => other,
    }
}
