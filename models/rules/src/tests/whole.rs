//! The models that visit every state and break no promise.

use super::{base, explore, who};
use crate::config::{Config, Event, Kind as StoreKind, Left, Work};
use crate::table::Kind;
use crate::words::{CallerKind, Operation};

const EVERY_WORK: [Work; 8] = [
    Work::Extend,
    Work::Checkpoint,
    Work::Complete,
    Work::CompleteOtherwise,
    Work::Fail,
    Work::Release,
    Work::Abandon,
    Work::Doubt,
];
const EVERY_OPERATION: [Operation; 7] = [
    Operation::Forget,
    Operation::ForgetForced,
    Operation::ResolveCompleted,
    Operation::ResolveFailed,
    Operation::ResolveReleased,
    Operation::ResolveCompletedForced,
    Operation::ResolveReleasedForced,
];

/// Returns by how much the models are enlarged, for runs that may take hours.
fn more() -> u8 {
    std::env::var("LESSOR_RULES").ok().and_then(|more| more.parse().ok()).unwrap_or(0)
}

/// Explores a model. The expected answers and events show that it reaches what it has to check.
fn breaks_nothing(config: &Config, answers: &[Kind], events: &[Event]) {
    let found = explore(config, true);
    assert!(found.is_empty(), "{found:#?}");
    let missing = answers.iter().find(|&&kind| !config.met.has_answer(kind));
    assert_eq!(missing, None);
    let missing = events.iter().find(|&&event| !config.met.has_event(event));
    assert_eq!(missing, None);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_p3_p4_p10_holders_and_operators_get_the_answers_of_the_table() {
    let config = Config {
        holder_ops: EVERY_WORK.to_vec(),
        operations: EVERY_OPERATION.to_vec(),
        left: Left { acquires: 2, acts: 2 + more(), operations: 1, jumps: 1, ..Left::default() },
        ..base("holders and operators")
    };
    breaks_nothing(
        &config,
        &[
            Kind::Repeated,
            Kind::NothingToForget,
            Kind::InProgress,
            Kind::Completed,
            Kind::Failed,
            Kind::NotFound,
            Kind::NotHolder,
            Kind::Lapsed,
            Kind::Finished,
            Kind::Released,
            Kind::Busy,
        ],
        &[Event::LateOutcome],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_p6_lost_requests_and_replies_change_no_answer() {
    let config = Config {
        holder_ops: EVERY_WORK.to_vec(),
        left: Left {
            acquires: 2,
            acts: 1,
            agains: 1,
            jumps: 1,
            doubts: 1 + more(),
            failures: 1,
            crashes: 1,
            hangups: 1,
            ..Left::default()
        },
        ..base("lost requests and replies")
    };
    breaks_nothing(
        &config,
        &[Kind::Repeated, Kind::InProgress, Kind::Completed, Kind::NotHolder, Kind::Lapsed, Kind::Store],
        &[Event::OwnWriteFound, Event::LateOutcome],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_5_6_8_policies_and_fingerprints_are_kept() {
    let config = Config {
        callers: vec![
            CallerKind { retries: true, ..who(1) },
            CallerKind { in_doubt: true, ..who(2) },
            CallerKind::default(),
        ],
        holder_ops: vec![Work::Complete, Work::Fail, Work::Release],
        operations: vec![Operation::Forget, Operation::ResolveFailed],
        left: Left { acquires: 3, acts: 1, operations: 1, jumps: 1 + more(), ..Left::default() },
        ..base("policies and fingerprints")
    };
    breaks_nothing(
        &config,
        &[Kind::InDoubt, Kind::Mismatch, Kind::Failed, Kind::Completed, Kind::Finished, Kind::Busy],
        &[Event::LateOutcome],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_5_6_a_holder_allows_a_retry_or_leaves_a_key_in_doubt() {
    let config = Config {
        callers: vec![
            CallerKind { retries: true, ..who(1) },
            CallerKind { reconciles: true, ..who(1) },
            who(1),
        ],
        holder_ops: vec![Work::Complete, Work::FailFor, Work::Doubt],
        operations: vec![Operation::ResolveReleased],
        left: Left { acquires: 3, acts: 1, agains: 1, operations: 1, jumps: 1 + more(), ..Left::default() },
        ..base("retries and doubt")
    };
    breaks_nothing(
        &config,
        &[Kind::InDoubt, Kind::Failed, Kind::Completed, Kind::Repeated, Kind::NotHolder, Kind::Busy],
        &[Event::LateOutcome],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_p7_a_clock_that_is_ahead_ends_no_lease_early() {
    let config = Config {
        holder_ops: vec![Work::Extend, Work::Complete, Work::Release],
        ahead: Some(150_000),
        left: Left { acquires: 3, acts: 1 + more(), jumps: 2, ..Left::default() },
        ..base("a clock that is ahead")
    };
    breaks_nothing(&config, &[Kind::InProgress, Kind::Lapsed, Kind::Completed], &[Event::LateOutcome]);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_tokens_rise_after_a_purge_in_a_local_store() {
    let config = Config {
        holder_ops: vec![Work::Complete, Work::Release],
        left: Left { acquires: 3, acts: 1, agains: more(), ticks: 1, jumps: 2, doubts: 1, ..Left::default() },
        ..base("purging, local")
    };
    breaks_nothing(&config, &[Kind::Completed, Kind::NotFound], &[Event::Purge, Event::OwnWriteFound]);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_tokens_rise_after_a_purge_on_a_server() {
    let config = Config {
        kind: StoreKind::Server,
        holder_ops: vec![Work::Complete],
        left: Left {
            acquires: 2 + more(),
            acts: 1,
            agains: 1,
            jumps: 2,
            doubts: 1,
            failures: 1,
            ..Left::default()
        },
        ..base("purging, server")
    };
    breaks_nothing(
        &config,
        &[Kind::Completed, Kind::NotFound, Kind::Store],
        &[Event::Purge, Event::OwnWriteFound, Event::TooLateGrant],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_8_11_no_answer_to_a_waiter_is_older_than_its_wait() {
    let config = Config {
        callers: vec![who(1), who(1), who(2)],
        holder_ops: vec![Work::Complete, Work::Fail, Work::Release],
        operations: vec![Operation::Forget],
        waits: true,
        left: Left {
            acquires: 3,
            acts: 1,
            operations: 1,
            turns: 1,
            observers: more(),
            jumps: 1,
            ..Left::default()
        },
        ..base("waiting")
    };
    breaks_nothing(
        &config,
        &[Kind::InProgress, Kind::Completed, Kind::Failed, Kind::Mismatch],
        &[Event::LateOutcome],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p6_p10_two_handles_on_a_lease_write_no_version_twice() {
    let config = Config {
        holder_ops: vec![Work::Extend, Work::Complete, Work::Fail],
        left: Left { acquires: 1, acts: 2 + more(), handles: 1, doubts: 1, jumps: 1, ..Left::default() },
        ..base("two handles")
    };
    breaks_nothing(&config, &[Kind::Repeated, Kind::Finished, Kind::Lapsed], &[Event::OwnWriteFound]);
}
