//! The metrics of an engine, for the recorder of the application.

use std::time::Duration;

use metrics::{
    Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::counters::{Counter, METRICS};
use super::survey::{Survey, Unresolved};

/// Handles to the metrics. They belong to the recorder that was installed when the engine was
/// created.
pub(super) struct Meters {
    counters: Vec<metrics::Counter>,
    margin: Histogram,
    waiting: Gauge,
    waited_keys: Gauge,
    /// `None` if the engine does not survey its store.
    surveyed: Option<[UnresolvedGauges; 2]>,
    succeeded: Histogram,
    failed: Histogram,
}

/// The gauges of a group of keys.
struct UnresolvedGauges {
    keys: Gauge,
    oldest: Gauge,
}

impl UnresolvedGauges {
    fn new(state: &'static str) -> Self {
        Self {
            keys: gauge!("lessor_unresolved_keys", "state" => state),
            oldest: gauge!("lessor_oldest_unresolved_age_seconds", "state" => state),
        }
    }

    fn set(&self, group: Unresolved) {
        #[expect(clippy::cast_precision_loss, reason = "there are less than 2^52 keys")]
        self.keys.set(group.keys as f64);
        self.oldest.set(group.oldest.unwrap_or_default().as_secs_f64());
    }
}

impl Meters {
    /// `surveys` is whether the engine surveys its store. Gauges that nobody sets would show zero.
    pub(super) fn new(surveys: bool) -> Self {
        describe();
        let counters = METRICS.iter().map(|(_, name, label)| match label {
            None => counter!(*name),
            Some((label, value)) => counter!(*name, *label => *value),
        });
        Self {
            counters: counters.collect(),
            margin: histogram!("lessor_renewal_margin_seconds"),
            waiting: gauge!("lessor_waiting_callers"),
            waited_keys: gauge!("lessor_waited_keys"),
            surveyed: surveys.then(|| ["in_doubt", "lapsed"].map(UnresolvedGauges::new)),
            succeeded: histogram!("lessor_work_seconds", "result" => "ok"),
            failed: histogram!("lessor_work_seconds", "result" => "error"),
        }
    }

    #[inline]
    pub(super) fn add(&self, counter: Counter, amount: u64) {
        if let Some(counter) = self.counters.get(counter as usize) {
            counter.increment(amount);
        }
    }

    pub(super) fn renewed(&self, margin: Duration) {
        self.margin.record(margin);
    }

    /// `of_key` is whether the number of keys that are waited for changes as well.
    pub(super) fn waiting(&self, change: f64, of_key: bool) {
        self.waiting.increment(change);
        if of_key {
            self.waited_keys.increment(change);
        }
    }

    pub(super) fn surveyed(&self, survey: &Survey) {
        if let Some([in_doubt, lapsed]) = &self.surveyed {
            in_doubt.set(survey.in_doubt);
            lapsed.set(survey.lapsed);
        }
    }

    pub(super) fn worked(&self, took: Duration, succeeded: bool) {
        if succeeded { &self.succeeded } else { &self.failed }.record(took);
    }
}

fn describe() {
    describe_counter!("lessor_grants_total", "Granted leases, by what came before");
    describe_counter!("lessor_answers_total", "Acquires without a lease, by the state of the key");
    describe_counter!("lessor_outcomes_total", "Ended leases, by their outcome");
    describe_counter!("lessor_late_outcomes_total", "Outcomes stored after the lease had lapsed");
    describe_counter!("lessor_renewals_total", "Renewals, by their result");
    describe_counter!("lessor_renewal_near_misses_total", "Renewals with less than a tenth of the ttl left");
    describe_counter!("lessor_lost_leases_total", "Leases lost before they had an outcome");
    describe_counter!("lessor_stale_refusals_total", "Refused operations of superseded holders");
    describe_counter!("lessor_waits_total", "Callers that waited for a key in progress");
    describe_counter!("lessor_operator_actions_total", "Decisions of operators on keys");
    describe_counter!("lessor_purged_records_total", "Records removed after their retention");
    describe_gauge!("lessor_waiting_callers", "Callers that wait now");
    describe_gauge!("lessor_waited_keys", "Keys for which callers wait now");
    describe_gauge!("lessor_unresolved_keys", "Keys whose lease has ended without an outcome");
    describe_gauge!(
        "lessor_oldest_unresolved_age_seconds",
        Unit::Seconds,
        "The time since the oldest lease without an outcome has ended"
    );
    describe_histogram!(
        "lessor_renewal_margin_seconds",
        Unit::Seconds,
        "The time that was left at a renewal until the holder would have had to stop"
    );
    describe_histogram!(
        "lessor_work_seconds",
        Unit::Seconds,
        "The duration of the work of once, by its result"
    );
}
