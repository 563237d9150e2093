//! What every store promises, each promise as a test of its own.
//!
//! [`conformance!`](crate::conformance!) makes a `#[test]` of each. Each can be called alone as well: it is a plain function
//! that takes a factory of fresh, empty stores and panics where the store breaks the promise. [`PROMISES`] lists all of
//! them by name.

// A test kit's verdict is a panic, and what it unwraps is what the store under test owes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod atomicity;
pub mod granting;
pub mod growing;
pub mod keys;
pub mod lapsing;
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

/// Makes a fresh, empty store for each promise.
pub type Factory<'a> = &'a dyn Fn() -> Subject;

/// Tests one promise; panics if it is broken.
pub type Promise = fn(Factory<'_>);

/// Every promise there is, by name: the one list from which the tests of
/// [`conformance!`](crate::conformance!) and [`PROMISES`] are made.
#[doc(hidden)]
#[macro_export]
macro_rules! __promises {
    ($make:ident, $arguments:tt) => {
        $crate::$make! { $arguments
            swapping {
                load_shows_what_swap_stored,
                a_key_never_written_has_no_record,
                absence_is_expected_in_vain_where_there_is_a_record,
                a_record_is_expected_in_vain_where_there_is_none,
                swap_compares_the_version,
                swap_compares_the_token,
                a_conflict_shows_the_current_record_and_changes_nothing,
                swaps_chain,
                keys_do_not_touch_each_other,
                records_come_back_byte_for_byte,
                a_mebibyte_comes_back_whole,
            }
            windows {
                a_change_is_refused_from_its_not_after_on,
                a_change_is_refused_until_its_not_before,
                a_change_outside_of_its_window_changes_nothing,
                a_change_within_its_window_is_stored,
                the_window_is_judged_at_the_instant_of_the_write,
                a_conflict_comes_before_the_window,
                out_of_window_shows_the_record_and_the_time,
            }
            atomicity {
                one_of_many_swaps_on_an_absent_key_wins,
                one_of_many_swaps_on_one_record_wins,
                no_swap_is_lost,
                a_loser_is_shown_what_a_winner_wrote,
                readers_never_see_a_version_go_back,
                an_acknowledged_swap_is_seen_by_every_thread,
            }
            time {
                p7_now_never_runs_backwards_over_threads,
                p7_what_was_seen_never_runs_backwards,
                p7_now_does_not_lag_behind_what_was_seen,
                p7_time_passes,
            }
            scanning {
                an_empty_store_lists_nothing,
                scan_lists_in_key_order,
                scan_filters_by_prefix,
                scan_shows_every_record_once_whatever_the_page,
                scan_goes_on_behind_a_cursor_that_is_no_key,
                scan_shows_the_records_that_load_shows,
                scan_shows_records_that_stay_once_while_others_come_and_go,
            }
            purging {
                purge_drops_what_is_due,
                purge_drops_nothing_that_is_not_due,
                purge_judges_the_exact_instant,
                purge_drops_at_most_its_limit,
                p2_purge_never_drops_a_token_floor,
                p2_a_grant_by_an_old_reading_does_not_undercut_what_was_purged,
                purge_never_drops_what_was_written_meanwhile,
                p9_purge_is_invisible_to_readers,
            }
            keys {
                hostile_keys_are_kept_as_they_are,
                keys_alike_are_not_the_same,
                the_longest_keys_fit,
                scan_lists_hostile_keys_as_they_are,
            }
            operating {
                an_operation_agrees_with_load,
                an_answer_is_of_the_current_record,
                a_refused_operation_changes_nothing,
                an_operation_changes_nothing_that_was_read,
                no_operation_is_lost,
                purge_judges_what_an_operation_left,
                p7_an_operation_is_judged_by_the_clock_at_its_step,
            }
            stamping {
                a_stamped_outcome_is_the_one_that_is_stored,
                what_is_no_outcome_is_stored_as_it_is,
                lateness_is_judged_at_the_write,
            }
            replies {
                a_dropped_reply_leaves_all_or_nothing,
                replies_may_be_awaited_on_another_thread,
                an_error_that_says_nothing_happened_is_right,
            }
            granting {
                p1_one_of_many_acquirers_is_granted,
                p1_holders_follow_each_other,
                p1_engines_that_share_a_store_share_its_leases,
                p2_tokens_rise_over_release,
                p2_tokens_rise_over_lapse,
                p2_tokens_rise_over_forget_in_the_same_instant,
                p2_tokens_rise_over_purge,
                p2_tokens_rise_over_the_end_of_retention,
                p2_a_token_is_at_least_the_time,
                p10_the_version_grows_by_one_with_every_write,
                p11_no_view_shows_the_lease_id,
            }
            growing {
                unknown_fields_outlast_every_change_of_a_grant,
                unknown_fields_outlast_a_resolution,
                unknown_fields_of_a_grant_end_with_it,
            }
            outcomes {
                p3_a_completed_record_does_not_change,
                p3_a_failed_record_does_not_change,
                p6_an_acquire_sent_again_is_the_same_grant,
                p6_a_complete_sent_again_writes_nothing,
                p6_a_fail_sent_again_writes_nothing,
                p6_a_release_sent_again_writes_nothing,
                a_result_is_replayed_byte_for_byte,
                a_failure_is_replayed_by_default,
                a_failure_is_retried_where_the_policy_says_so,
                forget_opens_a_finished_key_again,
                once_runs_the_work_once,
            }
            refusals {
                p4_refusals_leave_a_live_record_byte_for_byte,
                p4_a_superseded_holder_changes_nothing,
                p4_another_fingerprint_is_refused,
                p4_what_is_too_large_is_refused_before_anything_is_written,
                p4_holders_of_nothing_are_told_so,
                p12_malformed_keys_are_refused,
            }
            lapsing {
                p7_a_lease_lives_up_to_its_last_instant,
                a_lapsed_lease_is_taken_over,
                a_successor_gets_the_checkpoint,
                an_outcome_may_come_late,
                extend_does_not_revive_a_lapsed_lease,
                extend_never_shortens,
                a_lapsed_key_stays_in_doubt_until_it_is_resolved,
                a_dropped_lease_lapses_at_once,
                retention_ends,
                a_backoff_is_kept,
            }
            waiting {
                a_waiter_is_woken_when_the_work_is_done,
                a_waiter_is_woken_when_the_lease_is_released,
                a_waiter_is_woken_when_the_lease_is_dropped,
                a_waiter_is_woken_when_the_lease_lapses,
                a_waiter_hears_of_another_engine,
                many_waiters_get_the_first_ones_result,
                a_kept_lease_outlives_its_ttl,
                closing_gives_up_dropped_leases,
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

/// Makes a `#[test]` of every promise that a store gives, in one module per theme.
///
/// The factory is an expression for a `Fn() -> Subject`; every test calls it for fresh, empty stores.
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

/// Every promise with its name.
pub const PROMISES: &[(&str, Promise)] = crate::__promises!(__as_table, []);

/// Tests every promise, and returns how many there are.
///
/// # Panics
/// If any is broken; the message names all that are.
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
