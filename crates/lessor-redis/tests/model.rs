//! The engine over the Redis store and the reference model agree on every answer. The server's
//! clock is set by the tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use lessor_testkit::{history, state_machine};
use support::clocked::Stores;

#[test]
fn p1_p2_p3_p4_p6_p10_answers_equal_the_models() {
    let Some(stores) = Stores::start() else { return };
    let tally = state_machine::check(&|| stores.fresh(), "tests/model.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p6_answers_equal_the_models_with_lost_replies() {
    let Some(stores) = Stores::start() else { return };
    let tally = state_machine::check_with_lost_replies(&|| stores.fresh(), "tests/lost_replies.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let Some(stores) = Stores::start() else { return };
    let tally = history::check_races(&|| stores.fresh()).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}
