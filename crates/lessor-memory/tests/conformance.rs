//! The in-memory store keeps every promise, on a clock set by hand and on the machine's own.

use std::sync::Arc;

use lessor_memory::MemoryStore;
use lessor_testkit::{ManualClock, Subject, conformance};

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
