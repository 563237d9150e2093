//! Counters of events, and [`Stats`], their sums.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Defines the counters, the fields of [`Stats`], and the names of the metrics.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident, $Counter:ident, $metric:literal $({$label:literal: $value:literal})?;)*) => {
        /// A counted kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Counter {
            $($Counter,)*
            /// Callers that do not wait any more.
            WaitsEnded,
        }

        /// The numbers of events of an engine since it was created. Returned by
        /// [`Engine::stats`](crate::Engine::stats).
        ///
        /// The guide on observability lists the metrics with the same values, which the feature
        /// `metrics` reports.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Callers that wait now for a key that is in progress.
            pub waiting: u64,
            /// Keys for which callers wait now.
            pub waited_keys: u64,
            /// Leases that are kept alive now, or whose loss is awaited.
            pub watched_leases: u64,
        }

        /// The name of each counter's metric, and its label if it has one.
        #[cfg(feature = "metrics")]
        pub(crate) const METRICS: &[(Counter, &str, Option<(&str, &str)>)] = &[
            $((Counter::$Counter, $metric, label!($($label: $value)?)),)*
        ];

        impl Stats {
            /// Returns the sums of all counters.
            pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Counters>) -> Self {
                let mut stats = Self::default();
                for counters in all {
                    $(stats.$name += counters.get(Counter::$Counter);)*
                    stats.waiting = stats.waiting
                        .wrapping_add(counters.get(Counter::Waits))
                        .wrapping_sub(counters.get(Counter::WaitsEnded));
                }
                stats
            }
        }
    };
}

#[cfg(feature = "metrics")]
macro_rules! label {
    () => {
        None
    };
    ($label:literal: $value:literal) => {
        Some(($label, $value))
    };
}

counters! {
    /// First grants of a key.
    first_grants, FirstGrants, "lessor_grants_total" {"after": "nothing"};
    /// Grants of a key whose former lease had lapsed, or was abandoned.
    takeovers, Takeovers, "lessor_grants_total" {"after": "lapse"};
    /// Grants of a key whose work had failed before.
    retries, Retries, "lessor_grants_total" {"after": "failure"};
    /// Grants of a key that was released before.
    grants_after_release, GrantsAfterRelease, "lessor_grants_total" {"after": "release"};
    /// Acquires that got their own earlier grant again.
    repeated_grants, RepeatedGrants, "lessor_grants_total" {"after": "lost_reply"};
    /// Acquires of a key that another caller held.
    in_progress, InProgress, "lessor_answers_total" {"state": "in_progress"};
    /// Acquires that got a stored result.
    replayed_results, ReplayedResults, "lessor_answers_total" {"state": "completed"};
    /// Acquires that got a stored failure.
    replayed_failures, ReplayedFailures, "lessor_answers_total" {"state": "failed"};
    /// Acquires of a key in doubt.
    in_doubt, InDoubt, "lessor_answers_total" {"state": "in_doubt"};
    /// Acquires that were refused or failed.
    acquire_errors, AcquireErrors, "lessor_answers_total" {"state": "error"};
    /// Completed leases.
    completed, Completed, "lessor_outcomes_total" {"outcome": "completed"};
    /// Failed leases.
    failed, Failed, "lessor_outcomes_total" {"outcome": "failed"};
    /// Released leases.
    released, Released, "lessor_outcomes_total" {"outcome": "released"};
    /// Leases that were abandoned because they were dropped.
    abandoned, Abandoned, "lessor_outcomes_total" {"outcome": "abandoned"};
    /// Leases of `once` that ended before their work began, and leases whose request was dropped
    /// before its answer arrived.
    unused, Unused, "lessor_outcomes_total" {"outcome": "unused"};
    /// Leases whose holder left the key in doubt.
    left_in_doubt, LeftInDoubt, "lessor_outcomes_total" {"outcome": "in_doubt"};
    /// Outcomes that were delivered after the lease had lapsed, and count.
    late_outcomes, LateOutcomes, "lessor_late_outcomes_total";
    /// Renewals of leases that are kept alive.
    renewals, Renewals, "lessor_renewals_total" {"result": "renewed"};
    /// Renewals that the store did not answer. They are repeated.
    failed_renewals, FailedRenewals, "lessor_renewals_total" {"result": "failed"};
    /// Leases that were not renewed because their work made no progress.
    stalls, Stalls, "lessor_renewals_total" {"result": "stalled"};
    /// Renewals with less than a tenth of the ttl left until the holder would have had to stop.
    near_misses, NearMisses, "lessor_renewal_near_misses_total";
    /// Leases that were lost before they had an outcome.
    lost_leases, LostLeases, "lessor_lost_leases_total";
    /// Operations of superseded holders, which were refused.
    stale_refusals, StaleRefusals, "lessor_stale_refusals_total";
    /// Callers that waited for a key in progress.
    waits, Waits, "lessor_waits_total";
    /// Keys that an operator resolved, without force.
    resolved, Resolved, "lessor_operator_actions_total" {"action": "resolved"};
    /// Keys that an operator resolved by force.
    forced_resolutions, ForcedResolutions, "lessor_operator_actions_total" {"action": "resolved_by_force"};
    /// Keys that an operator canceled, with or without force.
    canceled, Canceled, "lessor_operator_actions_total" {"action": "canceled"};
    /// Records that an operator removed, without force.
    forgotten, Forgotten, "lessor_operator_actions_total" {"action": "forgotten"};
    /// Records that an operator removed by force.
    forced_removals, ForcedRemovals, "lessor_operator_actions_total" {"action": "forgotten_by_force"};
    /// Records that were removed after their retention, by the background or by
    /// [`Engine::purge`](crate::Engine::purge).
    purged, Purged, "lessor_purged_records_total";
}

/// The number of counters.
const COUNT: usize = Counter::WaitsEnded as usize + 1;

/// The counters of one thread, or of a few. Those of different threads are on different cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters([AtomicU64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    #[inline]
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        if let Some(count) = self.0.get(counter as usize) {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
