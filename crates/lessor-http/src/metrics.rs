//! `GET /metrics`: counts since the start of the process, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::StatusCode;
use lessor_core::Stats;
use parking_lot::Mutex;

/// The number of replies, by call and status.
#[derive(Debug, Default)]
pub(crate) struct Replies(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Replies {
    /// Counts a reply. `path` is the path of a route and not that of a request.
    pub(crate) fn count(&self, path: &'static str, status: StatusCode) {
        *self.0.lock().entry((path, status.as_u16())).or_default() += 1;
    }

    /// Returns the text, with the events of the engine.
    pub(crate) fn text(&self, stats: &Stats) -> String {
        let mut text = String::from(
            "# HELP lessor_http_replies_total Replies, by call and status.\n# TYPE lessor_http_replies_total counter\n",
        );
        for ((path, status), count) in self.0.lock().iter() {
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "lessor_http_replies_total{{path=\"{path}\",status=\"{status}\"}} {count}");
        }
        for (name, help, kind, value) in [
            ("lessor_first_grants_total", "First grants of a key.", "counter", stats.first_grants),
            ("lessor_takeovers_total", "Grants after a lapsed lease.", "counter", stats.takeovers),
            ("lessor_retries_total", "Grants after a failure.", "counter", stats.retries),
            ("lessor_completed_total", "Completed leases.", "counter", stats.completed),
            ("lessor_failed_total", "Failed leases.", "counter", stats.failed),
            ("lessor_released_total", "Released leases.", "counter", stats.released),
            (
                "lessor_late_outcomes_total",
                "Outcomes after the end of the lease.",
                "counter",
                stats.late_outcomes,
            ),
            (
                "lessor_stale_refusals_total",
                "Refused operations of superseded holders.",
                "counter",
                stats.stale_refusals,
            ),
            ("lessor_waiting_callers", "Callers that wait now.", "gauge", stats.waiting),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text
    }
}
