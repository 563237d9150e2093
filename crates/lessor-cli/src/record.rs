//! A record as a line of a list.

use lessor::{Key, State, Timestamp, View};
use serde::Serialize;

use crate::exit::Code;
use crate::output::Row;
use crate::time;

/// A record as a line of a list. In JSON, times are in µs since 1970 and durations in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RecordRow {
    pub(crate) key: Key,
    pub(crate) state: State,
    in_doubt: bool,
    attempt: u32,
    pub(crate) version: u64,
    holder: Option<String>,
    first_seen_at: Timestamp,
    /// The time of the last event of the record.
    at: Option<Timestamp>,
    ttl_left: Option<f64>,
    retry_after: Option<f64>,
    error_code: Option<String>,
}

impl RecordRow {
    pub(crate) fn new(key: Key, view: &View) -> Self {
        Self {
            key,
            state: view.state(),
            in_doubt: view.is_in_doubt(),
            attempt: view.attempt(),
            version: view.version().as_u64(),
            holder: view.holder().map(str::to_owned),
            first_seen_at: view.first_seen_at(),
            at: view.history().last().map(lessor::HistoryEntry::at),
            ttl_left: view.ttl_left().map(|left| left.as_secs_f64()),
            retry_after: view.retry_after().map(|after| after.as_secs_f64()),
            error_code: view.error_code().map(str::to_owned),
        }
    }

    /// Returns what is left of the lease, the wait before a retry, or the error code.
    fn detail(&self) -> String {
        let seconds = |seconds: f64| time::duration(std::time::Duration::from_secs_f64(seconds.max(0.0)));
        match (self.state, self.ttl_left, &self.error_code, self.retry_after) {
            (State::InProgress, Some(left), ..) => format!("{} left", seconds(left)),
            (_, _, Some(code), Some(after)) => format!("{code}, retry in {}", seconds(after)),
            (_, _, Some(code), None) => code.clone(),
            _ => String::new(),
        }
    }
}

impl Row for RecordRow {
    const COLUMNS: &'static [&'static str] = &["KEY", "STATE", "ATTEMPT", "HOLDER", "SINCE", "DETAIL"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.to_string(),
            state(self.state, self.in_doubt).to_owned(),
            self.attempt.to_string(),
            self.holder.clone().unwrap_or_default(),
            self.at.map(time::at).unwrap_or_default(),
            self.detail(),
        ]
    }
}

/// Returns the name of a state. A lapsed key that only an operator can free is in doubt.
pub(crate) fn state(state: State, in_doubt: bool) -> &'static str {
    match state {
        State::Lapsed if in_doubt => "in doubt",
        State::InProgress => "in progress",
        State::Lapsed => "lapsed",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Released => "released",
        _ => "unknown",
    }
}

/// Returns the exit code that stands for a state.
pub(crate) fn code(view: &View) -> Code {
    match view.state() {
        State::Completed => Code::Done,
        State::Failed => Code::Failed,
        State::InProgress => Code::Busy,
        State::Lapsed => Code::InDoubt,
        _ => Code::NotFound,
    }
}
