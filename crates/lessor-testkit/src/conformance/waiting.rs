//! Waiters are woken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use lessor_core::{Engine, ErrorKind, Lease, Message, State, View};

use super::Factory;
use super::stays_open::StaysOpen;
use super::tools::*;
use crate::subject::Subject;

/// A timeout that does not end during a test, even if the clock is advanced.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

fn wait_for(engine: &Engine) -> mpsc::Receiver<Option<View>> {
    let engine = engine.clone();
    in_background(move || engine.wait_for("k", FOR_EVER).wait().expect("the store works"))
}

/// Advances a manual clock in small steps until there is an answer, because waiters poll if nothing
/// wakes them.
fn while_time_passes<T>(subject: &Subject, what: &str, answer: &mpsc::Receiver<T>) -> T {
    let mut got = None;
    eventually(what, || {
        subject.advance(Duration::from_millis(100));
        got = answer.try_recv().ok();
        got.is_some()
    });
    got.unwrap()
}

/// Completing wakes the waiters on the same engine without any time passing.
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

/// Releasing the lease wakes its waiters.
pub fn a_waiter_is_woken_when_the_lease_is_released(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let waiter = wait_for(&engine);
    lease.release().wait().expect("the holder may");
    let view = within_patience("a waiter of a released lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Released);
}

/// Dropping the lease wakes its waiters.
pub fn a_waiter_is_woken_when_the_lease_is_dropped(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG));
    let waiter = wait_for(&engine);
    drop(lease);
    let view = within_patience("a waiter of a dropped lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Lapsed);
}

/// The end of the lease wakes its waiters.
pub fn a_waiter_is_woken_when_the_lease_lapses(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let _lease = take(engine.acquire("k").ttl(SHORT));
    let waiter = wait_for(&engine);
    subject.advance(OUTLIVE);
    let view = within_patience("a waiter of a lapsed lease", &waiter).expect("there is a record");
    assert_eq!(view.state(), State::Lapsed);
}

/// A waiter detects a change by another engine: immediately if the store sends hints, and otherwise
/// at its next poll.
pub fn a_waiter_detects_changes_by_another_engine(factory: Factory<'_>) {
    let subject = factory();
    let (engine, other) = (subject.engine(), subject.engine());
    let lease = take(other.acquire("k").ttl(Duration::from_secs(80_000)));
    let waiter = wait_for(&engine);
    lease.complete(&5).wait().expect("the holder may");
    let view = while_time_passes(&subject, "a waiter detects the change", &waiter);
    assert_eq!(view.expect("there is a record").result::<u32>().expect("there is a result"), 5);
}

/// Many callers that wait for one holder get its result, and none of them runs the work.
pub fn many_waiters_get_one_result(factory: Factory<'_>) {
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
                    Ok::<_, Message>(0)
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

/// A lease that is kept alive is renewed as time passes, so it is not taken over.
pub fn keep_alive_extends_a_lease_beyond_its_ttl(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("keep_alive_extends_a_lease_beyond_its_ttl") else { return };
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

/// `close` completes when every dropped lease has been abandoned at the store.
pub fn closing_abandons_dropped_leases(factory: Factory<'_>) {
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

/// A closed engine has completed all steps, grants no lease, and can be closed again.
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
