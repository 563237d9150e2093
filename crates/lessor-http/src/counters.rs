//! The counts of requests per day, since the start of the process.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

/// The maximum number of days for which counts are kept.
const MAX_DAYS: usize = 400;

/// The two kinds of calls that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Leases.
    Ai,
    /// Locks of check-lock.
    Make,
}

/// The numbers of requests of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) acquired: u64,
    pub(crate) polling: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) blocked: u64,
}

/// What one request adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Acquired,
    Polling,
    /// A duplicate of a lock, or a request over the quota.
    Blocked,
    /// A stored outcome was returned, or an error.
    Other,
    /// A holder delivered an outcome. Not a request for a lease.
    Completed,
    Failed,
}

/// The counts of a namespace, by day and kind. A day is `YYYY-MM-DD`, and a month its beginning.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<String, [Counts; 2]>>);

fn index(kind: Kind) -> usize {
    match kind {
        Kind::Ai => 0,
        Kind::Make => 1,
    }
}

impl Counters {
    pub(crate) fn count(&self, day: &str, kind: Kind, counted: Counted) {
        let mut days = self.0.lock();
        if !days.contains_key(day) {
            while days.len() >= MAX_DAYS {
                days.pop_first();
            }
            days.insert(day.to_owned(), Default::default());
        }
        let Some(counts) = days.get_mut(day).and_then(|kinds| kinds.get_mut(index(kind))) else { return };
        let field = match counted {
            Counted::Acquired => Some(&mut counts.acquired),
            Counted::Polling => Some(&mut counts.polling),
            Counted::Blocked => Some(&mut counts.blocked),
            Counted::Completed => Some(&mut counts.completed),
            Counted::Failed => Some(&mut counts.failed),
            Counted::Other => None,
        };
        if let Some(field) = field {
            *field += 1;
        }
        if !matches!(counted, Counted::Completed | Counted::Failed) {
            counts.requests += 1;
        }
    }

    /// Returns the sums of a month, such as `2026-12`.
    pub(crate) fn month(&self, month: &str, kind: Kind) -> Counts {
        let mut sum = Counts::default();
        for (_, kinds) in self.0.lock().iter().filter(|(day, _)| day.starts_with(month)) {
            let Some(counts) = kinds.get(index(kind)) else { continue };
            sum.requests += counts.requests;
            sum.acquired += counts.acquired;
            sum.polling += counts.polling;
            sum.completed += counts.completed;
            sum.failed += counts.failed;
            sum.blocked += counts.blocked;
        }
        sum
    }

    /// Returns the counts of the days in this range, both included.
    pub(crate) fn days(&self, from: &str, to: &str) -> Vec<(String, Kind, Counts)> {
        let days = self.0.lock();
        let days = days.iter().filter(|(day, _)| (from..=to).contains(&day.as_str()));
        days.flat_map(|(day, [ai, make])| [(day.clone(), Kind::Ai, *ai), (day.clone(), Kind::Make, *make)])
            .collect()
    }
}
