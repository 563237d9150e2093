//! The summary of a run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::ledger::Audit;
use crate::worker::Receipt;

#[derive(Default)]
pub(crate) struct Tally {
    /// Deliveries by outcome: the caller ran the work, got a result from another call, or got a
    /// final failure.
    pub(crate) executed: usize,
    pub(crate) replayed: usize,
    pub(crate) failed: usize,
    /// Replays of work that was done before this run.
    pub(crate) from_before: usize,
    /// Outcomes for which the caller had waited.
    pub(crate) waited: usize,
    /// Grants after a lapsed and after a failed one.
    pub(crate) taken_over: usize,
    pub(crate) retried: usize,
    /// Outcomes that were refused after a takeover, and late outcomes that counted.
    pub(crate) fenced: usize,
    pub(crate) late: usize,
    pub(crate) panicked: usize,
    pub(crate) errored: usize,
    pub(crate) stalled: usize,
    pub(crate) receipts: HashMap<String, Receipt>,
    /// Ids with a final failure.
    pub(crate) failures: HashSet<String>,
    pub(crate) troubles: Vec<String>,
}

impl Tally {
    /// Checks that all copies of a delivery get the same receipt.
    pub(crate) fn receive(&mut self, receipt: &Receipt) {
        let first = self.receipts.entry(receipt.id.clone()).or_insert_with(|| receipt.clone());
        if first != receipt {
            self.troubles.push(format!("{}: two results, {first:?} and {receipt:?}", receipt.id));
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.executed += other.executed;
        self.replayed += other.replayed;
        self.from_before += other.from_before;
        self.failed += other.failed;
        self.waited += other.waited;
        self.taken_over += other.taken_over;
        self.retried += other.retried;
        self.fenced += other.fenced;
        self.late += other.late;
        self.panicked += other.panicked;
        self.errored += other.errored;
        self.stalled += other.stalled;
        other.receipts.values().for_each(|receipt| self.receive(receipt));
        self.failures.extend(other.failures);
        self.troubles.extend(other.troubles);
    }
}

/// The other rows of the table.
pub(crate) struct Frame {
    pub(crate) deliveries: usize,
    pub(crate) distinct: usize,
    pub(crate) took: Duration,
    pub(crate) has_chaos: bool,
}

pub(crate) fn print(tally: &Tally, audit: &Audit, frame: &Frame) {
    let row = |name: &str, count: usize| println!("{name:<22}{count:>10}");
    row("deliveries", frame.deliveries);
    row("distinct", frame.distinct);
    row("executed", tally.executed);
    row("replayed", tally.replayed);
    row("  from earlier runs", tally.from_before);
    row("waited for another", tally.waited);
    row("taken over", tally.taken_over);
    row("  cut off, all runs", audit.cut_off);
    row("retried", tally.retried);
    row("failed", tally.failed);
    row("fenced", tally.fenced);
    if frame.has_chaos {
        row("chaos: panics", tally.panicked);
        row("chaos: errors", tally.errored);
        row("chaos: stalls", tally.stalled);
        row("finished late", tally.late);
    }
    let seconds = frame.took.as_secs_f64().max(1e-6);
    println!("{:<22}{:>10.0}", "per second", frame.deliveries as f64 / seconds);
}
