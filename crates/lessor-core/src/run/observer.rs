//! The one place that counts and reports what happens in an engine.
//!
//! Every event goes through [`Observer::record`]. It is counted, reported to `tracing`, and with the
//! feature `metrics` to the application's recorder. Without a subscriber, an event costs a counter
//! and a comparison of levels.

pub(crate) mod counters;
pub(crate) mod event;
mod log;
#[cfg(feature = "metrics")]
mod meters;
pub(crate) mod survey;

use std::fmt;

use tracing::{Level, Span};

use crate::data::key::Key;
use crate::data::time::Monotonic;
use crate::rules::settings::{KeysInLogs, Settings};
use counters::{Counter, Counters};
use event::Event;
use survey::Survey;

/// Receives the events of one engine.
pub(crate) struct Observer {
    keys: KeysInLogs,
    /// The events of the background. Those of callers are counted in their handles.
    pub(crate) counters: Counters,
    #[cfg(feature = "metrics")]
    meters: meters::Meters,
}

impl Observer {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            keys: settings.keys_in_logs,
            counters: Counters::default(),
            #[cfg(feature = "metrics")]
            meters: meters::Meters::new(settings.schedule.survey_every.is_some()),
        }
    }

    /// Counts an event in `counters`, and reports it. Inlined, so that the compiler chooses the
    /// counter and the level of an event whose kind it knows.
    #[inline(always)]
    pub(crate) fn record(&self, counters: &Counters, event: &Event<'_>) {
        if let Some(counter) = event.counter() {
            self.count(counters, counter, event.amount());
        }
        if let Some(counter) = event.special() {
            self.count(counters, counter, 1);
        }
        #[cfg(feature = "metrics")]
        if let Event::Renewed { margin, .. } = event {
            self.meters.renewed(*margin);
        }
        if tracing::level_enabled!(event.level()) {
            log::report(event, self.keys);
        }
    }

    #[inline(always)]
    fn count(&self, counters: &Counters, counter: Counter, amount: u64) {
        counters.add(counter, amount);
        #[cfg(feature = "metrics")]
        self.meters.add(counter, amount);
    }

    /// Returns the span of a call of `once`.
    #[inline]
    pub(crate) fn once_span(&self, key: &Key) -> Span {
        if tracing::level_enabled!(Level::INFO) { log::once_span(key, self.keys) } else { Span::none() }
    }

    /// Counts a caller that begins to wait. `is_first` is whether no other waits for the key.
    pub(crate) fn wait_began(&self, is_first: bool) {
        self.count(&self.counters, Counter::Waits, 1);
        self.meter_waits(1.0, is_first);
    }

    /// Counts a caller that does not wait any more. `was_last` is whether no other waits for the
    /// key.
    pub(crate) fn wait_ended(&self, was_last: bool) {
        self.counters.add(Counter::WaitsEnded, 1);
        self.meter_waits(-1.0, was_last);
    }

    fn meter_waits(&self, change: f64, of_key: bool) {
        #[cfg(feature = "metrics")]
        self.meters.waiting(change, of_key);
        #[cfg(not(feature = "metrics"))]
        let _ = (change, of_key);
    }

    /// Reports the result of a survey.
    pub(crate) fn surveyed(&self, survey: &Survey) {
        #[cfg(feature = "metrics")]
        self.meters.surveyed(survey);
        tracing::debug!(
            target: "lessor",
            in_doubt = survey.in_doubt.keys,
            lapsed = survey.lapsed.keys,
            "the store is surveyed"
        );
    }

    /// Returns the time at which the work of `once` begins, if durations are measured.
    pub(crate) fn work_began(&self) -> Option<Monotonic> {
        cfg!(feature = "metrics").then(Monotonic::now)
    }

    /// Reports the end of the work of `once`.
    pub(crate) fn work_ended(&self, began: Option<Monotonic>, succeeded: bool) {
        #[cfg(feature = "metrics")]
        if let Some(began) = began {
            self.meters.worked(Monotonic::now().saturating_since(began), succeeded);
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (began, succeeded);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
