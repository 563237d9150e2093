//! Those who wait are woken.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use lessor_core::{Engine, ErrorKind, Lease, State, View};

use super::Factory;
use super::stays_open::StaysOpen;
use super::tools::*;
use crate::subject::Subject;

/// So long that only a wake-up ends the wait, even if the clock is moved on.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

fn wait_for(engine: &Engine) -> mpsc::Receiver<Option<View>> {
    let engine = engine.clone();
    in_background(move || engine.wait_for("k", FOR_EVER).wait().expect("the store works"))
}

/// Moves a clock that stands still by small steps until there is an answer: waiters look now and then by themselves
/// where nothing wakes them.
fn while_time_passes<T>(subject: &Subject, what: &str, answer: &mpsc::Receiver<T>) -> T {
    let mut got = None;
    eventually(what, || {
        subject.advance(Duration::from_millis(100));
        got = answer.try_recv().ok();
        got.is_some()
    });
    got.unwrap()
}

/// Completing wakes who waits on the same engine, without any time passing.
pub fn a_waiter_is_woken_when_the_work_is_done(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    for round in 0..20 {
        let lease = take(engine.acquire("k").ttl(LONG));
        let waiters = [wait_for(&engine), wait_for(&engine), wait_for(&engine)];
        lease.complete(&round).wait().expect("the holder may");
        for waiter in &waiters {
            let view = within_patience("a waiter of finished work", waiter).expect("there is a record");
            assert_eq!(view.result::<u32>().expect("there is a result"), round);
        }
        engine.forget("k").wait().expect("an operator may forget it");
    }
}

/// Releasing wakes who waits.
pub fn a_waiter_is_woken_when_the_lease_is_released(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let waiter = wait_for(&engine);
    lease.release().wait().expect("the holder may");
    let view = within_patience("a waiter of a released lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Released);
}

/// Dropping a lease wakes who waits.
pub fn a_waiter_is_woken_when_the_lease_is_dropped(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let waiter = wait_for(&engine);
    drop(lease);
    let view = within_patience("a waiter of a dropped lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Lapsed);
}

/// The end of the lease's time wakes who waits.
pub fn a_waiter_is_woken_when_the_lease_lapses(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let _lease = take(engine.acquire("k").ttl(SHORT));
    let waiter = wait_for(&engine);
    subject.advance(OUTLIVE);
    let view = within_patience("a waiter of a lapsed lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Lapsed);
}

/// What another engine did is noticed: at once where the store gives hints, else at the next look.
pub fn a_waiter_hears_of_another_engine(factory: Factory<'_>) {
    let subject = factory();
    let (engine, other) = (subject.engine(), subject.engine());
    let lease = take(other.acquire("k").ttl(Duration::from_secs(80_000)));
    let waiter = wait_for(&engine);
    lease.complete(&5).wait().expect("the holder may");
    let view = while_time_passes(&subject, "a waiter hears of another engine", &waiter);
    assert_eq!(view.expect("there is a record").result::<u32>().expect("there is a result"), 5);
}

/// Many who wait for one holder all get its result, and none of them runs the work.
pub fn many_waiters_get_the_first_ones_result(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let runs = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..16)
        .map(|_| {
            let (engine, runs) = (engine.clone(), Arc::clone(&runs));
            in_background(move || {
                let work = |_: &Lease| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(0)
                };
                engine.once("k").run(work).expect("the work does not fail").into_value()
            })
        })
        .collect();
    lease.complete(&9).wait().expect("the holder may");
    for waiter in &waiters {
        assert_eq!(within_patience("a caller of `once`", waiter), 9);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

/// A lease that is kept alive is renewed as time passes, so nobody takes it over.
pub fn a_kept_lease_outlives_its_ttl(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("a_kept_lease_outlives_its_ttl") else { return };
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(Duration::from_secs(30))).keep_alive();
    for _ in 0..20 {
        let before = status(&engine, "k").version();
        clock.advance(Duration::from_secs(11));
        eventually("the lease is renewed", || status(&engine, "k").version() > before);
    }
    assert!(!lease.is_lost());
    assert_eq!(refused(engine.acquire("k")).state(), State::InProgress);
    lease.complete(&1).wait().expect("it is the holder's still");
}

/// `close` returns once every lease that was dropped is given up at the store.
pub fn closing_gives_up_dropped_leases(factory: Factory<'_>) {
    let subject = factory().map_store(StaysOpen::over);
    let engine = subject.engine();
    for number in 0..50 {
        drop(take(engine.acquire(&format!("k{number}")).ttl(LONG)));
    }
    let shut = {
        let engine = engine.clone();
        in_background(move || engine.close(FOR_EVER).wait().is_ok_and(|closed| closed.gave_up))
    };
    assert!(within_patience("closing", &shut));
    for number in 0..50 {
        assert_eq!(status(&engine, &format!("k{number}")).state(), State::Lapsed);
    }
}

/// An engine that was closed has done all that there was to do; it grants nothing any more, and can be closed again.
pub fn a_closed_engine_grants_nothing_and_can_be_closed_again(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    take(engine.acquire("k")).complete(&1).wait().expect("the lease can be completed");
    for _ in 0..2 {
        let closing = engine.close(FOR_EVER);
        let progress = closing.progress();
        let closed = closing.wait().expect("the store can be closed");
        assert!(closed.is_complete(), "{closed:?}, {:?}", progress.get());
        let refused = engine.acquire("another").wait().map_err(|error| error.kind());
        assert!(matches!(refused, Err(ErrorKind::ShutDown)), "{refused:?}");
    }
}
