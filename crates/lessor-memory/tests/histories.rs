//! What real threads were told could have happened one after the other.

use std::sync::Arc;

use lessor_memory::MemoryStore;
use lessor_testkit::{ManualClock, Subject, history};

fn memory() -> Subject {
    let clock = ManualClock::new();
    Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let tally = history::check_races(&memory).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}
