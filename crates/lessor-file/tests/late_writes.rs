//! The time between a decision and its write to the log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Timestamp};
use lessor_file::FileStore;
use lessor_testkit::{Jumps, Level, ManualClock};

const TTL: Duration = Duration::from_secs(60);

fn done_at(engine: &Engine) -> Option<Timestamp> {
    engine.status("key").wait().unwrap().unwrap().done_at()
}

/// History: a completion was decided, its thread was suspended, and it was written five seconds
/// after the lease had lapsed. It was not reported as late, and recorded as done five seconds too
/// early.
#[test]
fn an_outcome_has_the_time_of_its_write_even_after_another_opening() {
    // The remaining time of the lease at the decision, and the time until the write, in ms.
    for (left, jump, late) in [(2_000, 0, false), (2_000, 300, false), (500, 800, true), (2_000, 5_000, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let open = || -> Arc<FileStore> {
            let builder = FileStore::builder().clock(Arc::new(clock.clone()));
            Arc::new(builder.open(folder.path().join("log")).unwrap())
        };
        let log = open();
        let (store, jumps) = Jumps::over(clock.driving(log.clone()), clock.clone(), Level::Swaps);
        let engine = Engine::new(store.clone()).unwrap();
        let Acquisition::Acquired(lease) = engine.acquire("key").ttl(TTL).wait().unwrap() else { panic!() };
        clock.advance(TTL - Duration::from_millis(left));
        jumps.jump([Duration::from_millis(jump)]);
        let ack = lease.complete("result").wait().unwrap();
        assert_eq!((ack.is_late(), ack.version().as_u64()), (late, 2), "{jump} ms");
        let written = clock.now();
        assert_eq!(done_at(&engine), Some(written), "{jump} ms");
        log.close().unwrap();
        drop((lease, engine, store, log));
        assert_eq!(done_at(&Engine::new(open()).unwrap()), Some(written), "{jump} ms, opened again");
    }
}
