//! The engine over the in-memory store and the reference model give the same answers.

use std::sync::Arc;

use lessor_memory::MemoryStore;
use lessor_testkit::{ManualClock, Subject, state_machine};

fn memory() -> Subject {
    let clock = ManualClock::new();
    Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
}

#[test]
fn p1_p2_p3_p4_p6_p10_answers_equal_the_models() {
    let tally = state_machine::check(&memory, "tests/model.regressions");
    assert!(tally.commands > tally.cases);
}
