//! Planted faults. Each breaks the promise that is named with it, and without the fault the same model breaks none.

use super::{base, explore, who};
use crate::bugs::Bug;
use crate::checks::{CHECKS, Check};
use crate::config::{Config, Kind, Left, Work};
use crate::words::{Operation, TTL, Who};

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

/// A write that arrives after a purge.
fn purging(kind: Kind) -> Config {
    Config {
        kind,
        deeds: vec![Work::Complete],
        left: Left { acquires: 2, acts: 1, ticks: 1, jumps: 1, ..Left::default() },
        ..base("purging")
    }
}

fn holding() -> Config {
    Config {
        deeds: vec![Work::Extend, Work::Complete, Work::Release],
        left: Left { acquires: 2, acts: 2, jumps: 1, ..Left::default() },
        ..base("holding")
    }
}

fn sending_again() -> Config {
    Config {
        deeds: vec![Work::Complete],
        left: Left { acquires: 1, acts: 1, agains: 1, doubts: 1, ..Left::default() },
        ..base("sending again")
    }
}

fn asking() -> Config {
    Config {
        callers: vec![Who { retries: true, ..who(1) }, Who { in_doubt: true, ..who(1) }, who(2)],
        deeds: vec![Work::Complete, Work::Fail],
        left: Left { acquires: 3, acts: 1, jumps: 1, ..Left::default() },
        ..base("asking")
    }
}

fn operating() -> Config {
    Config {
        operations: vec![Operation::Forget],
        left: Left { acquires: 2, operations: 1, ..Left::default() },
        ..base("operating")
    }
}

fn waiting() -> Config {
    Config {
        callers: vec![who(1), who(1), who(2)],
        deeds: vec![Work::Complete, Work::Release],
        waits: true,
        left: Left { acquires: 3, acts: 1, observers: 2, ..Left::default() },
        ..base("waiting")
    }
}

// The write of a fresh grant is delayed in the network. Meanwhile another caller is granted the key with a higher token and
// completes its work, and the record is purged. Then the write arrives, and its token is lower than the one before. Its caller
// may learn of the grant in three ways.

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_answered_is_found() {
    finds(Bug::LateAnswerIsTaken, Check::TokensRiseWhereAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_found_by_reading_is_found() {
    let purging = purging(Kind::Server);
    let left = Left { doubts: 1, ..purging.left };
    finds(Bug::LateRecordIsTaken, Check::TokensRiseWhereFound, Config { left, ..purging });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_late_fresh_grant_that_is_sent_again_is_found() {
    let purging = purging(Kind::Server);
    let left = Left { doubts: 1, failures: 1, agains: 1, ..purging.left };
    finds(Bug::LateRecordIsTaken, Check::TokensRiseWhereSentAgain, Config { left, ..purging });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_fresh_grant_that_counts_for_too_long_is_found() {
    finds(Bug::LateRecordCountsForTheWholeAge, Check::TokensRiseWhereAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_purge_that_ignores_the_age_of_tokens_is_found() {
    finds(Bug::PurgeIgnoresTheAge, Check::TokensRiseWhereAnswered, purging(Kind::Server));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_store_that_forgets_what_was_purged_is_found() {
    finds(Bug::StoreForgetsWhatWasPurged, Check::TokensRiseWhereAnswered, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_store_that_lets_equal_tokens_in_is_found() {
    finds(Bug::StoreLetsEqualTokensIn, Check::TokensRiseWhereAnswered, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p2_a_token_that_is_the_time_alone_is_found() {
    finds(Bug::TokenIsTheTimeAlone, Check::TokensRiseWhereAnswered, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_purge_before_the_end_of_retention_is_found() {
    finds(Bug::PurgeIgnoresRetention, Check::FinishedStays, purging(Kind::Local));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_a_store_that_ignores_when_a_write_may_begin_is_found() {
    let ahead = Config { deeds: vec![], ..holding() };
    let left = Left { jumps: 0, ticks: 1, ..ahead.left };
    finds(Bug::StoreIgnoresNotBefore, Check::OneLiveGrant, Config { left, ahead: Some(TTL), ..ahead });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_2_a_store_that_ignores_when_a_write_must_have_come_is_found() {
    finds(Bug::StoreIgnoresNotAfter, Check::LapsedStaysLapsed, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_swap_that_compares_too_little_is_found() {
    let left = Left { acquires: 1, acts: 2, doubts: 1, ..Left::default() };
    let deeds = vec![Work::Checkpoint, Work::Complete];
    finds(Bug::SwapComparesTheTokenAlone, Check::FinishedStays, Config { left, deeds, ..holding() });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_11_a_waiter_that_takes_what_was_seen_before_is_found() {
    finds(Bug::WaiterTakesWhatWasSeenBefore, Check::AnswerIsNotOlder, waiting());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_11_a_waiter_that_takes_a_reading_under_way_is_found() {
    finds(Bug::WaiterTakesAReadingUnderWay, Check::AnswerIsNotOlder, waiting());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_8_a_waiter_that_ignores_fingerprints_is_found() {
    // The first holder has no fingerprint. Then the key is taken over for a request that is not the waiter's.
    let left = Left { acquires: 3, acts: 1, jumps: 1, ..Left::default() };
    let callers = vec![Who::default(), who(1), who(2)];
    let deeds = vec![Work::Complete];
    finds(
        Bug::WaiterIgnoresFingerprints,
        Check::OutcomeIsOfTheSameRequest,
        Config { left, callers, deeds, ..waiting() },
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
    finds(Bug::SupersededHolderIsTakenForTheHolder, Check::SupersededChangesNothing, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_a_live_lease_that_is_taken_over_is_found() {
    finds(Bug::LiveLeaseIsTakenOver, Check::OneLiveGrant, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p1_forgetting_that_is_always_forced_is_found() {
    finds(Bug::ForgettingIsForcedAlways, Check::OneLiveGrant, operating());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_completed_key_that_is_granted_again_is_found() {
    finds(Bug::CompletedIsGrantedAgain, Check::FinishedStays, holding());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p3_a_failure_that_is_retried_too_soon_is_found() {
    finds(Bug::FailureIsRetriedTooSoon, Check::FinishedStays, asking());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn rule_6_a_doubt_that_is_taken_over_is_found() {
    finds(Bug::DoubtIsTakenOver, Check::DoubtIsLeftToTheOperator, asking());
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
fn p6_an_outcome_that_is_refused_when_sent_again_is_found() {
    finds(Bug::RepeatedOutcomeIsRefused, Check::SentAgainIsTheSame, sending_again());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "visits too many states for an unoptimised build; add --release")]
fn p6_an_acquire_that_is_refused_when_sent_again_is_found() {
    finds(Bug::OwnGrantIsRefusedWhenSentAgain, Check::SentAgainIsTheSame, sending_again());
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
fn rule_12_an_outcome_that_is_judged_by_the_reading_is_found() {
    finds(Bug::LateIsJudgedByTheReading, Check::LateIsJudgedAtTheWrite, holding());
}
