//! The promises of a store, each of which is a test.
//!
//! [`conformance!`](crate::conformance!) generates a `#[test]` for each. Each promise is also a
//! function that takes a factory of new, empty stores and panics if the store breaks the promise.
//! [`PROMISES`] lists all of them by name.

// The verdict of a test kit is a panic, and the unwrapped values are obligations of the tested
// store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod atomicity;
pub mod granting;
pub mod growing;
pub mod keys;
pub mod lapsing;
pub mod namespaces;
pub mod operating;
pub mod outcomes;
pub mod purging;
pub mod refusals;
pub mod replies;
pub mod scanning;
pub mod stamping;
mod stays_open;
pub mod swapping;
pub mod time;
pub(crate) mod tools;
pub mod waiting;
pub mod windows;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::subject::Subject;

/// Returns a new, empty store for each promise.
pub type Factory<'a> = &'a dyn Fn() -> Subject;

/// Tests one promise. Panics if it is broken.
pub type Promise = fn(Factory<'_>);

/// The list of all promises. [`conformance!`](crate::conformance!) and [`PROMISES`] are generated
/// from it.
#[doc(hidden)]
#[macro_export]
macro_rules! __promises {
    ($make:ident, $arguments:tt) => {
        $crate::$make! { $arguments
            swapping {
                load_returns_the_stored_record,
                a_key_never_written_has_no_record,
                a_swap_that_expects_no_record_conflicts_with_a_record,
                a_swap_that_expects_a_record_conflicts_with_none,
                swap_compares_the_version,
                swap_compares_the_token,
                a_conflict_returns_the_current_record_and_changes_nothing,
                consecutive_swaps_are_stored,
                a_write_changes_no_other_key,
                records_are_returned_byte_for_byte,
                a_result_of_a_mebibyte_is_returned_unchanged,
            }
            windows {
                a_write_is_rejected_from_its_not_after_on,
                a_write_is_rejected_before_its_not_before,
                a_write_outside_of_its_window_changes_nothing,
                a_write_within_its_window_is_stored,
                the_window_applies_to_the_time_of_the_write,
                a_conflict_takes_precedence_over_the_window,
                a_rejection_returns_the_record_and_the_time,
            }
            atomicity {
                one_of_many_swaps_on_an_absent_key_wins,
                one_of_many_swaps_on_one_record_wins,
                no_swap_is_lost,
                a_conflict_returns_the_record_of_the_winner,
                readers_see_versions_in_order,
                an_acknowledged_swap_is_seen_by_every_thread,
            }
            time {
                p7_now_never_runs_backwards_between_threads,
                p7_times_of_replies_never_run_backwards,
                p7_now_is_never_behind_the_time_of_a_reply,
                p7_time_passes,
            }
            scanning {
                an_empty_store_lists_nothing,
                scan_lists_in_key_order,
                scan_filters_by_prefix,
                scan_returns_every_record_once_for_any_page_size,
                scan_continues_after_a_cursor_without_a_record,
                scan_returns_the_same_records_as_load,
                scan_returns_unchanged_records_once_while_others_change,
                a_listing_by_state_returns_each_key_in_the_state_once,
            }
            purging {
                purge_removes_due_records,
                purge_keeps_records_that_are_not_due,
                purge_removes_a_record_exactly_at_its_purge_time,
                purge_removes_at_most_its_limit,
                p2_purge_keeps_a_token_that_is_ahead_of_the_clock,
                p2_a_delayed_grant_gets_no_token_below_a_purged_one,
                purge_keeps_records_that_are_written_meanwhile,
                p9_purge_is_invisible_to_readers,
            }
            keys {
                unusual_keys_are_stored_unchanged,
                similar_keys_are_distinct,
                the_longest_keys_can_be_stored,
                scan_returns_unusual_keys_unchanged,
            }
            operating {
                an_operation_and_load_use_the_same_record,
                an_answer_without_a_write_uses_the_current_record,
                a_refused_operation_changes_nothing,
                an_operation_does_not_change_records_that_were_read,
                no_operation_is_lost,
                purge_uses_the_record_that_an_operation_stored,
                p7_an_operation_uses_the_clock_of_its_atomic_step,
            }
            stamping {
                the_reply_to_an_outcome_matches_the_stored_record,
                a_write_without_an_outcome_is_stored_unchanged,
                lateness_is_decided_at_the_write,
            }
            replies {
                a_write_with_a_dropped_reply_is_complete_or_absent,
                replies_may_be_awaited_on_another_thread,
                an_error_that_states_no_change_is_accurate,
            }
            granting {
                p1_one_of_many_callers_is_granted_the_lease,
                p1_leases_of_a_key_never_overlap,
                p1_engines_that_share_a_store_share_its_leases,
                p2_tokens_rise_after_a_release,
                p2_tokens_rise_after_a_lapse,
                p2_tokens_rise_after_forget_in_the_same_instant,
                p2_tokens_rise_after_the_record_was_purged,
                p2_tokens_rise_after_the_end_of_retention,
                p2_a_token_is_at_least_the_time,
                p10_the_version_grows_by_one_with_every_write,
                p11_no_view_shows_the_lease_id,
            }
            growing {
                unknown_fields_are_kept_by_every_change_of_a_grant,
                unknown_fields_are_kept_by_a_resolution,
                unknown_fields_of_a_grant_are_dropped_by_a_takeover,
                the_history_of_earlier_grants_is_kept_by_every_change,
            }
            outcomes {
                p3_a_completed_record_does_not_change,
                p3_a_failed_record_does_not_change,
                p6_a_repeated_acquire_returns_the_same_grant,
                p6_a_repeated_complete_writes_nothing,
                p6_a_repeated_fail_writes_nothing,
                p6_a_repeated_release_writes_nothing,
                a_result_is_replayed_byte_for_byte,
                a_failure_is_replayed_by_default,
                a_failure_is_retried_if_the_policy_allows_it,
                a_forgotten_key_can_be_acquired_again,
                once_runs_the_work_once,
            }
            refusals {
                p4_refused_operations_leave_a_live_record_unchanged,
                p4_a_superseded_holder_changes_nothing,
                a_resolution_by_force_supersedes_the_holder,
                p4_another_fingerprint_is_refused,
                p4_oversized_values_are_refused_before_any_write,
                p4_operations_on_a_key_without_a_record_are_refused,
                p12_malformed_keys_are_refused,
            }
            lapsing {
                p7_a_lease_is_live_until_its_last_instant,
                a_lapsed_lease_is_taken_over,
                a_successor_gets_the_checkpoint,
                a_late_outcome_counts_before_a_takeover,
                extend_does_not_revive_a_lapsed_lease,
                extend_never_shortens,
                a_lapsed_key_stays_in_doubt_until_it_is_resolved,
                a_key_left_in_doubt_is_granted_only_to_a_caller_that_reconciles,
                a_dropped_lease_lapses_immediately,
                a_record_is_absent_after_its_retention,
                a_backoff_delays_the_next_attempt,
                a_failure_with_a_wait_is_retried_by_every_caller_after_it,
            }
            namespaces {
                keys_of_different_namespaces_never_meet,
                the_longest_keys_of_namespaces_can_be_stored,
                a_quota_is_never_exceeded_and_used_up_completely,
                unused_units_are_given_back_by_close_and_lost_by_a_crash,
            }
            waiting {
                a_waiter_is_woken_when_the_work_is_done,
                a_waiter_is_woken_when_the_lease_is_released,
                a_waiter_is_woken_when_the_lease_is_dropped,
                a_waiter_is_woken_when_the_lease_lapses,
                a_waiter_detects_changes_by_another_engine,
                many_waiters_get_one_result,
                keep_alive_extends_a_lease_beyond_its_ttl,
                closing_abandons_dropped_leases,
                a_closed_engine_grants_nothing_and_can_be_closed_again,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __as_tests {
    ([$factory:expr] $($theme:ident { $($promise:ident,)* })*) => {
        $(
            mod $theme {
                #[allow(unused_imports)]
                use super::*;
                $(
                    #[test]
                    fn $promise() {
                        $crate::conformance::$theme::$promise(&$factory);
                    }
                )*
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __as_table {
    ([] $($theme:ident { $($promise:ident,)* })*) => {
        &[$($((stringify!($promise), $theme::$promise as Promise),)*)*]
    };
}

/// Generates a `#[test]` for every promise of a store, in one module per topic.
///
/// The factory is an expression of the type `Fn() -> Subject`. Every test calls it to get new,
/// empty stores.
///
/// ```
/// use std::sync::Arc;
/// use lessor_memory::MemoryStore;
/// use lessor_testkit::{ManualClock, Subject, conformance};
///
/// fn memory() -> Subject {
///     let clock = ManualClock::new();
///     Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
/// }
///
/// conformance!(memory);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($factory:expr) => {
        $crate::__promises!(__as_tests, [$factory]);
    };
}

/// All promises with their names.
pub const PROMISES: &[(&str, Promise)] = crate::__promises!(__as_table, []);

/// Tests all promises and returns their number.
///
/// # Panics
/// Panics if any promise is broken. The message names all broken promises.
pub fn run_all(factory: Factory<'_>) -> usize {
    let broken: Vec<&str> = PROMISES
        .iter()
        .filter(|(_, promise)| catch_unwind(AssertUnwindSafe(|| promise(factory))).is_err())
        .map(|(name, _)| *name)
        .collect();
    assert!(broken.is_empty(), "{} of {} promises are broken: {broken:?}", broken.len(), PROMISES.len());
    println!("{} promises kept", PROMISES.len());
    PROMISES.len()
}
