//! The answers that concurrent threads receive are linearizable.

use std::sync::Arc;

use lessor_memory::MemoryStore;
use lessor_testkit::faulty::FaultRates;
use lessor_testkit::{Faults, Level, ManualClock, Subject, history};

fn memory() -> Subject {
    let clock = ManualClock::new();
    Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let tally = history::check_races(&memory).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}

#[test]
fn p8_histories_are_linearizable_with_late_replies_in_any_order() {
    let slow = || {
        memory().map_store(|memory| {
            let (store, faults) = Faults::over(memory, Level::Swaps);
            faults.at_random(1, FaultRates { held_request: 400, held_reply: 400, ..FaultRates::default() });
            faults.deliver_in_random_order(1);
            store
        })
    };
    let tally = history::check_races(&slow).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}
