//! The in-memory store passes the conformance tests, with a manual clock and with the machine's
//! clock.

use std::sync::Arc;

use lessor_core::{Durability, Store};
use lessor_memory::MemoryStore;
use lessor_testkit::faulty::FaultRates;
use lessor_testkit::{Faults, Level, ManualClock, Subject, conformance};

#[test]
fn the_durability_is_volatile() {
    assert_eq!(MemoryStore::new().durability(), Durability::Volatile);
}

mod on_a_manual_clock {
    use super::*;

    fn memory() -> Subject {
        let clock = ManualClock::new();
        Subject::on_manual_clock(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), clock)
    }

    conformance!(memory);
}

mod on_the_real_clock {
    use super::*;

    fn memory() -> Subject {
        Subject::on_real_clock(Arc::new(MemoryStore::new()))
    }

    conformance!(memory);
}

/// Replies arrive like those of a store on the network: later, and in any order.
mod with_replies_under_way {
    use super::*;

    fn memory() -> Subject {
        let clock = ManualClock::new();
        let memory = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let (store, faults) = Faults::over(memory, Level::Swaps);
        faults.at_random(1, FaultRates { held_request: 500, held_reply: 500, ..FaultRates::default() });
        faults.deliver_in_random_order(1);
        Subject::on_manual_clock(store, clock)
    }

    conformance!(memory);
}
