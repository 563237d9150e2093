//! The engine over the Redis store and the reference model agree on every answer. The server's clock is set by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, Timestamp};
use lessor_testkit::{ManualClock, Subject, history, state_machine};
use parking_lot::Mutex;
use support::faked::{ClockFile, Faked, FakedServer, Hand};

/// Makes fresh stores. The time of each begins long after whatever came before: the server's clock does not run backwards.
struct Stores {
    server: FakedServer,
    file: Arc<Mutex<ClockFile>>,
    next: AtomicU64,
}

impl Stores {
    fn new() -> Option<Self> {
        if !support::is_there() {
            return None;
        }
        let server = FakedServer::start()?;
        let file = Arc::new(Mutex::new(ClockFile::open(&server.clock_path())));
        let next = AtomicU64::new(ManualClock::new().now().as_micros());
        Some(Self { server, file, next })
    }

    fn fresh(&self) -> Subject {
        const YEAR: Duration = Duration::from_hours(365 * 24);
        let year = u64::try_from(YEAR.as_micros()).unwrap() / 50;
        let start = Timestamp::from_micros(self.next.fetch_add(year, Ordering::Relaxed)).unwrap();
        self.file.lock().stand_at(start);
        let clock = ManualClock::starting_at(start);
        let opener = lessor_redis::Opener::new().settings(support::settings(&support::prefix()));
        let store = Arc::new(opener.open(&self.server.url()).unwrap());
        let hand = Hand::Manual(clock.clone(), Arc::clone(&self.file));
        Subject::on_manual_clock(Arc::new(Faked { store, hand }), clock)
    }
}

#[test]
fn p1_p2_p3_p4_p6_p10_every_answer_is_the_models() {
    let Some(stores) = Stores::new() else { return };
    let tally = state_machine::check(&|| stores.fresh(), "tests/model.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p6_every_answer_is_the_models_although_replies_are_lost() {
    let Some(stores) = Stores::new() else { return };
    let tally = state_machine::check_with_lost_replies(&|| stores.fresh(), "tests/lost_replies.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let Some(stores) = Stores::new() else { return };
    let tally = history::check_races(&|| stores.fresh()).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}
