//! The file store keeps every promise of the conformance suite on the simulated disk, even if it is
//! closed and opened all the time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::SimDisk;
use lessor_testkit::{ManualClock, Subject, conformance, history, state_machine};
use support::reopening::Reopening;
use support::work::tiny;

mod support;

fn log() -> Subject {
    let clock = ManualClock::new();
    let builder = FileStore::builder().settings(tiny(SyncMode::Disk)).clock(Arc::new(clock.clone()));
    let store = builder.open_on(Arc::new(SimDisk::new())).unwrap();
    Subject::on_manual_clock(Arc::new(store), clock)
}

conformance!(log);

fn reopening() -> Subject {
    let clock = ManualClock::new();
    let store = Reopening::new(tiny(SyncMode::Disk), clock.clone(), 3);
    Subject::on_manual_clock(Arc::new(store), clock)
}

#[test]
fn every_answer_is_the_models() {
    let tally = state_machine::check(&log, "tests/sim_model.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let tally = history::check_races(&log).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}

#[test]
fn p9_closing_and_opening_is_invisible() {
    let tally = state_machine::check(&reopening, "tests/reopened.regressions");
    assert!(tally.commands > tally.cases);
}
