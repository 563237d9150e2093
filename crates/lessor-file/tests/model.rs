//! The engine over the file store and the reference model agree on every answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use lessor_file::{FileStore, Settings};
use lessor_testkit::{ManualClock, Subject, history, state_machine};

fn log() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let mut settings = Settings::default();
    settings.first_segment = 8 << 10;
    settings.max_segment = 64 << 10;
    settings.compact_at = 32 << 10;
    settings.cache = 64 << 10;
    let builder = FileStore::builder().settings(settings).clock(Arc::new(clock.clone()));
    let store = builder.open(folder.path().join("log")).unwrap();
    Subject::on_manual_clock(Arc::new(store), clock).keeping(folder)
}

#[test]
fn p1_p2_p3_p4_p6_p10_answers_equal_the_models() {
    let tally = state_machine::check(&log, "tests/model.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p6_answers_equal_the_models_with_lost_replies() {
    let tally = state_machine::check_with_lost_replies(&log, "tests/lost_replies.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let tally = history::check_races(&log).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}
