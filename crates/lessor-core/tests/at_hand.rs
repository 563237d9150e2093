//! Records that are decided upon and changed in their place: what happens between the reading of the clock and that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Spot, Swap};
use lessor_core::{
    Acquisition, Clock, Durability, Engine, Error, Key, Lease, Pending, Record, State, Store, Timestamp,
    Token,
};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use parking_lot::Mutex;

const TTL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Paused {
    inner: MemoryStore,
    clock: ManualClock,
    /// What `now` tells instead of the time.
    told: Mutex<Option<Timestamp>>,
    /// What passes before the next edit.
    pause: Mutex<Duration>,
    loads: AtomicUsize,
    edits: AtomicUsize,
    /// What is said to have been purged at most.
    purged: Mutex<Option<Token>>,
}

impl Store for Paused {
    fn now(&self) -> Reply<Timestamp> {
        self.told.lock().map_or_else(|| self.inner.now(), |told| Pending::ready(Ok(told)))
    }
    fn load(&self, key: &Key) -> Reply<Seen> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.inner.load(key)
    }
    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        if !change.outruns(*self.purged.lock()) {
            return self.inner.load(key).map(|seen| Ok(Swap::OutOfWindow(seen?)));
        }
        self.inner.swap(key, change)
    }
    fn scan(&self, query: Scan) -> Reply<Page> {
        self.inner.scan(query)
    }
    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.inner.purge(limit)
    }
    fn durability(&self) -> Durability {
        self.inner.durability()
    }
    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.inner.close(closing)
    }
    fn glance(&self, key: &str, look: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        self.inner.glance(key, look)
    }
    fn edit(&self, key: &Key, edit: &mut dyn FnMut(&mut Spot<'_>)) -> bool {
        self.edits.fetch_add(1, Ordering::SeqCst);
        let pause = std::mem::take(&mut *self.pause.lock());
        if pause > Duration::ZERO {
            self.clock.advance(pause);
        }
        self.inner.edit(key, &mut |spot| {
            spot.purged = spot.purged.max(*self.purged.lock());
            edit(spot);
        })
    }
    fn attach(&self, hints: Hints) {
        self.inner.attach(hints);
    }
}

fn paused() -> (Engine, Arc<Paused>, ManualClock) {
    let clock = ManualClock::new();
    let store = Arc::new(Paused {
        inner: MemoryStore::with_clock(Arc::new(clock.clone())),
        clock: clock.clone(),
        told: Mutex::default(),
        pause: Mutex::default(),
        loads: AtomicUsize::new(0),
        edits: AtomicUsize::new(0),
        purged: Mutex::default(),
    });
    (Engine::new(store.clone()).unwrap(), store, clock)
}

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire("key").ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn state(engine: &Engine) -> State {
    engine.status("key").wait().unwrap().unwrap().state()
}

#[test]
fn p1_an_edit_is_judged_by_the_clock_at_its_own_instant() {
    let (engine, store, clock) = paused();
    let lease = acquire(&engine);
    // The caller reads the clock, is suspended, and comes back when others saw its lease lapse.
    *store.told.lock() = Some(clock.now());
    *store.pause.lock() = TTL;
    assert!(matches!(lease.extend(TTL).wait(), Err(Error::Lapsed)));
    assert_eq!(state(&engine), State::Lapsed);
    let edits = store.edits.load(Ordering::SeqCst);
    assert!(edits >= 2, "nothing was tried in place");
}

#[test]
fn p7_an_edit_takes_nothing_over_before_the_clock_itself_has_reached_its_end() {
    let (engine, store, clock) = paused();
    let lease = acquire(&engine);
    *store.told.lock() = Some(clock.now().saturating_add(TTL));
    assert!(matches!(engine.acquire("key").wait().unwrap(), Acquisition::InProgress(_)));
    clock.advance(TTL);
    assert!(acquire(&engine).token() > lease.token());
}

/// Refusals and replays are shown as of the instant at which the record was looked at, not as of an earlier reading of the clock.
#[test]
fn what_a_refusal_shows_is_judged_by_the_clock_at_that_instant() {
    let (engine, store, clock) = paused();
    let _lease = acquire(&engine);
    *store.told.lock() = Some(clock.now());
    clock.advance(Duration::from_secs(20));
    let Acquisition::InProgress(view) = engine.acquire("key").wait().unwrap() else { panic!() };
    assert_eq!(view.ttl_left(), Some(TTL - Duration::from_secs(20)));
    lease_lapses(&engine, &clock);
}

/// By the clock itself the lease has lapsed, whatever the last reading was.
fn lease_lapses(engine: &Engine, clock: &ManualClock) {
    clock.advance(TTL);
    assert_eq!(acquire(engine).attempt(), 2);
}

/// The story: this test had a record purged, and at times the engine's own purge was quicker. Now nothing is purged; the store says
/// how high the tokens were that it dropped.
#[test]
fn p2_a_grant_in_place_does_not_undercut_what_was_purged() {
    let (engine, store, clock) = paused();
    // One more than the clock says, and as much: over neither may anything be granted.
    for ahead in [1, 0] {
        let purged = Token::from_u64(clock.now().as_micros() + ahead).unwrap();
        *store.purged.lock() = Some(purged);
        for _ in 0..=ahead {
            assert!(engine.acquire("key").wait().is_err(), "something was granted at {}", clock.now());
            assert!(engine.status("key").wait().unwrap().is_none());
            clock.advance(Duration::from_micros(1));
        }
        let edits = store.edits.load(Ordering::SeqCst);
        let next = acquire(&engine);
        assert!(next.token() > purged, "{} after {purged}", next.token());
        assert_eq!(store.edits.load(Ordering::SeqCst), edits + 1, "it was not granted in place");
        next.release().wait().unwrap();
        *store.purged.lock() = None;
        clock.advance(engine.settings().retention + TTL);
        engine.purge(10).wait().unwrap();
        assert!(engine.status("key").wait().unwrap().is_none());
    }
}

#[test]
fn a_waiter_is_woken_by_work_that_ends_in_place() {
    for outcome in [State::Completed, State::Failed, State::Released] {
        let (engine, store, _) = paused();
        let lease = acquire(&engine);
        let before = store.loads.load(Ordering::SeqCst);
        thread::scope(|scope| {
            let hour = Duration::from_secs(3600);
            let waiting = scope.spawn(move || engine.wait_for("key", hour).wait().unwrap().unwrap().state());
            // The clock stands still, so there is no second look.
            while store.loads.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
            thread::park_timeout(Duration::from_millis(20));
            match outcome {
                State::Completed => lease.complete(&1).wait(),
                State::Failed => lease.fail("code").wait(),
                _ => lease.release().wait(),
            }
            .unwrap();
            assert_eq!(waiting.join().unwrap(), outcome);
        });
    }
}

#[test]
fn p6_an_outcome_that_is_sent_again_is_recognised_and_written_once() {
    let (engine, ..) = paused();
    let lease = acquire(&engine);
    let first = lease.complete("done").wait().unwrap();
    let again = lease.complete("done").wait().unwrap();
    assert_eq!(again.version(), first.version());
    assert!(again.is_repeated() && !first.is_repeated());
    assert!(matches!(lease.complete("else").wait(), Err(Error::Finished { .. })));
}
