//! Planted faults. Each breaks the given promise. Without the fault, the same model breaks none.

use super::{base, explore, who};
use crate::bugs::Bug;
use crate::checks::{CHECKS, Check};
use crate::config::{Config, Kind, Left, Work};
use crate::words::{CallerKind, Operation, TTL};

fn finds(bug: Bug, check: Check, config: Config) {
    let (name, _) = CHECKS.iter().find(|(_, known)| *known == check).unwrap();
    let found = explore(&Config { bug: Some(bug), checks: check as u32, ..config.clone() }, false);
    let Some((_, way)) = found.iter().find(|(broken, _)| broken == name) else {
        panic!("{bug:?} is not found to break {name:?}")
    };
    println!("fault {bug:?}: breaks {name:?} in {} steps: {way:?}", way.len());
    let found = explore(&config, false);
    assert!(found.is_empty(), "without {bug:?}: {found:?}");
}

/// Returns a model in which writes can arrive after a purge.
fn purging(kind: Kind) -> Config {
    Config {
        kind,
        holder_ops: vec![Work::Complete],
        left: Left { acquires: 2, acts: 1, ticks: 1, jumps: 1, ..Left::default() },
        ..base("purging")
    }
}

fn holding() -> Config {
    Config {
        holder_ops: vec![Work::Extend, Work::Complete, Work::Release],
        left: Left { acquires: 2, acts: 2, jumps: 1, ..Left::default() },
        ..base("holding")
    }
}

fn sending_again() -> Config {
    Config {
        holder_ops: vec![Work::Complete],
        left: Left { acquires: 1, acts: 1, agains: 1, doubts: 1, ..Left::default() },
        ..base("sending again")
    }
}

fn asking() -> Config {
    Config {
        callers: vec![
            CallerKind { retries: true, ..who(1) },
            CallerKind { in_doubt: true, ..who(1) },
            who(2),
        ],
        holder_ops: vec![Work::Complete, Work::Fail],
        left: Left { acquires: 3, acts: 1, jumps: 1, ..Left::default() },
        ..base("asking")
    }
}

fn leaving_in_doubt() -> Config {
    Config {
        holder_ops: vec![Work::Doubt],
        left: Left { acquires: 2, acts: 1, ..Left::default() },
        ..base("leaving in doubt")
    }
}

fn operating() -> Config {
    Config {
        operations: vec![Operation::Forget, Operation::ResolveReleased],
        left: Left { acquires: 2, operations: 1, ..Left::default() },
        ..base("operating")
    }
}

fn waiting() -> Config {
    Config {
        callers: vec![who(1), who(1), who(2)],
        holder_ops: vec![Work::Complete, Work::Release],
        waits: true,
        left: Left { acquires: 3, acts: 1, observers: 2, ..Left::default() },
        ..base("waiting")
    }
}

// The write of a fresh grant is delayed in the network. Meanwhile another caller is granted the key
// with a higher token and completes its work, and the record is purged. Then the write arrives,
// with a lower token than the previous one. Its caller may learn of the grant in three ways.

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_answered_is_found() {
    finds(Bug::LateReplyIsAccepted, Check::TokensRiseIfAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_found_by_reading_is_found() {
    let purging = purging(Kind::Server);
    let left = Left { doubts: 1, ..purging.left };
    finds(Bug::LateRecordIsAccepted, Check::TokensRiseIfFound, Config { left, ..purging });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_repeated_is_found() {
    let purging = purging(Kind::Server);
    let left = Left { doubts: 1, failures: 1, agains: 1, ..purging.left };
    finds(Bug::LateRecordIsAccepted, Check::TokensRiseIfRepeated, Config { left, ..purging });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_fresh_grant_that_counts_for_too_long_is_found() {
    finds(Bug::LateRecordCountsTooLong, Check::TokensRiseIfAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_purge_that_ignores_the_age_of_tokens_is_found() {
    finds(Bug::PurgeIgnoresTokenAge, Check::TokensRiseIfAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_store_that_forgets_purged_tokens_is_found() {
    finds(Bug::StoreForgetsPurgedTokens, Check::TokensRiseIfAnswered, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_store_that_accepts_equal_tokens_is_found() {
    finds(Bug::StoreAcceptsEqualTokens, Check::TokensRiseIfAnswered, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_token_that_is_only_the_time_is_found() {
    finds(Bug::TokenIsOnlyTheTime, Check::TokensRiseIfAnswered, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_purge_before_the_end_of_retention_is_found() {
    finds(Bug::PurgeIgnoresRetention, Check::FinishedIsFinal, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_a_store_that_ignores_not_before_is_found() {
    let ahead = Config { holder_ops: vec![], ..holding() };
    let left = Left { jumps: 0, ticks: 1, ..ahead.left };
    finds(Bug::StoreIgnoresNotBefore, Check::OneLiveGrant, Config { left, ahead: Some(TTL), ..ahead });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_2_a_store_that_ignores_not_after_is_found() {
    finds(Bug::StoreIgnoresNotAfter, Check::LapsedStaysLapsed, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_swap_that_compares_too_little_is_found() {
    let left = Left { acquires: 1, acts: 2, doubts: 1, ..Left::default() };
    let holder_ops = vec![Work::Checkpoint, Work::Complete];
    finds(Bug::SwapComparesOnlyTheToken, Check::FinishedIsFinal, Config { left, holder_ops, ..holding() });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_11_a_waiter_that_accepts_an_earlier_reading_is_found() {
    finds(Bug::WaiterAcceptsAnEarlierReading, Check::AnswerIsNotOlder, waiting());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_11_a_waiter_that_accepts_a_reading_in_flight_is_found() {
    finds(Bug::WaiterAcceptsAReadingInFlight, Check::AnswerIsNotOlder, waiting());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_8_a_waiter_that_ignores_fingerprints_is_found() {
    // The first holder has no fingerprint. Then the key is taken over for another request than the
    // waiter's.
    let left = Left { acquires: 3, acts: 1, jumps: 1, ..Left::default() };
    let callers = vec![CallerKind::default(), who(1), who(2)];
    let holder_ops = vec![Work::Complete];
    finds(
        Bug::WaiterIgnoresFingerprints,
        Check::OutcomeIsOfTheSameRequest,
        Config { left, callers, holder_ops, ..waiting() },
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_8_rules_that_ignore_fingerprints_are_found() {
    finds(Bug::FingerprintsAreIgnored, Check::OutcomeIsOfTheSameRequest, asking());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_3_a_superseded_holder_that_writes_is_found() {
    finds(Bug::SupersededHolderIsAccepted, Check::SupersededChangesNothing, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_a_live_lease_that_is_taken_over_is_found() {
    finds(Bug::LiveLeaseIsTakenOver, Check::OneLiveGrant, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_forget_that_is_always_forced_is_found() {
    finds(Bug::ForgetIsAlwaysForced, Check::OneLiveGrant, operating());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_completed_key_that_is_granted_again_is_found() {
    finds(Bug::CompletedIsGrantedAgain, Check::FinishedIsFinal, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_failure_that_is_retried_too_early_is_found() {
    finds(Bug::FailureIsRetriedTooEarly, Check::FinishedIsFinal, asking());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_6_a_takeover_of_a_key_in_doubt_is_found() {
    finds(Bug::DoubtIsTakenOver, Check::DoubtIsResolvedByTheOperator, asking());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_6_a_takeover_of_a_key_that_its_holder_left_in_doubt_is_found() {
    finds(Bug::MarkOfDoubtIsTakenOver, Check::DoubtIsResolvedByTheOperator, leaving_in_doubt());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_a_resolution_that_is_always_forced_is_found() {
    finds(Bug::ResolveIsAlwaysForced, Check::OneLiveGrant, operating());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_2_a_late_outcome_that_is_refused_is_found() {
    finds(Bug::LateOutcomeIsRefused, Check::LateOutcomeCounts, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_2_a_lapsed_lease_that_is_extended_is_found() {
    finds(Bug::LapsedLeaseIsExtended, Check::LapsedStaysLapsed, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p6_a_repeated_outcome_that_is_refused_is_found() {
    finds(Bug::RepeatedOutcomeIsRefused, Check::RepetitionIsTheSame, sending_again());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p6_a_repeated_acquire_that_is_refused_is_found() {
    finds(Bug::RepeatedAcquireIsRefused, Check::RepetitionIsTheSame, sending_again());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p4_a_refusal_that_writes_is_found() {
    finds(Bug::RefusalWrites, Check::RefusalsChangeNothing, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p10_a_version_that_skips_one_is_found() {
    finds(Bug::VersionSkips, Check::VersionsGrowByOne, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_12_lateness_that_is_decided_by_the_reading_is_found() {
    finds(Bug::LatenessIsDecidedByTheReading, Check::LatenessIsDecidedAtTheWrite, holding());
}
