//! The metrics of an engine, for the recorder of the application.

use std::time::Duration;

use metrics::{
    Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::counters::{Counter, METRICS};

/// Handles to the metrics. They belong to the recorder that was installed when the engine was
/// created.
pub(super) struct Meters {
    counters: Vec<metrics::Counter>,
    margin: Histogram,
    waiting: Gauge,
    succeeded: Histogram,
    failed: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        describe();
        let counters = METRICS.iter().map(|(_, name, label)| match label {
            None => counter!(*name),
            Some((label, value)) => counter!(*name, *label => *value),
        });
        Self {
            counters: counters.collect(),
            margin: histogram!("lessor_renewal_margin_seconds"),
            waiting: gauge!("lessor_waiting_callers"),
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

    pub(super) fn waiting(&self, change: f64) {
        self.waiting.increment(change);
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
