use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;

use crate::registry::{Availability, Checked, Effects, NextStep, OFFER, Registry, Ticket, Watched};
use crate::sync::primitives::{Arc, AtomicUsize, Ordering};

const KEY: &str = "key";

/// What the model's record holds.
const HELD: usize = 0;
const FREE: usize = 1;
const DONE: usize = 2;
/// Like `HELD`, after the outcome was forgotten and the key granted again.
const HELD_AGAIN: usize = 3;

type Waiters = Registry<&'static str, usize, Waker>;
type Entry = Arc<Watched<&'static str, usize, Waker>>;

/// An engine over a store whose record is one number, with no more ordering than a lock's release
/// and acquire give it.
#[derive(Clone)]
struct Engine {
    waiters: Arc<Waiters>,
    record: Arc<AtomicUsize>,
}

impl Engine {
    fn new(record: usize) -> Self {
        Self { waiters: Arc::new(Waiters::default()), record: Arc::new(AtomicUsize::new(record)) }
    }

    fn write(&self, value: usize) {
        self.record.store(value, Ordering::Release);
        if let Some(entry) = self.waiters.find_after_write(&KEY) {
            self.ask(&entry);
        }
    }

    fn ask(&self, entry: &Entry) {
        if entry.request_reading() {
            self.read(entry);
        }
    }

    /// Carries out a reading that was asked for, and those that were asked for meanwhile.
    fn read(&self, entry: &Entry) {
        while self.apply(entry.publish(self.reading(), 0)) {}
    }

    fn reading(&self) -> Result<(Availability, usize), usize> {
        let seen = self.record.load(Ordering::Acquire);
        let availability = match seen {
            FREE => Availability::Free,
            DONE => Availability::Finished,
            _ => Availability::Held,
        };
        Ok((availability, seen))
    }

    fn apply(&self, effects: Effects<Waker>) -> bool {
        effects.wake.into_iter().for_each(Waker::wake);
        effects.read
    }

    fn join(&self, contends: bool) -> Waiter {
        let (entry, ticket) = self.waiters.join(&KEY, contends);
        Waiter { engine: self.clone(), entry, ticket }
    }

    fn wait(&self, contends: bool) -> Waiter {
        let waiter = self.join(contends);
        self.ask(&waiter.entry);
        waiter
    }
}

struct Waiter {
    engine: Engine,
    entry: Entry,
    ticket: Ticket,
}

impl Waiter {
    /// The outcome, or `None` when it is this waiter's turn to try.
    fn outcome(&self) -> Option<usize> {
        block_on(poll_fn(|context| {
            let judge = |seen: &usize| match *seen {
                DONE => NextStep::Answer(DONE),
                FREE => NextStep::Try,
                _ => NextStep::Wait,
            };
            let (checked, effects) = self.entry.check(self.ticket, 0, context.waker().clone(), judge);
            assert!(!self.engine.apply(effects));
            match checked {
                Checked::Answer(seen) => Poll::Ready(Some(seen)),
                Checked::MayTry => Poll::Ready(None),
                Checked::Nothing => Poll::Pending,
            }
        }))
    }

    /// Registers a waker that does nothing.
    fn sleep(&self) {
        let waker = Waker::noop().clone();
        let (checked, effects) = self.entry.check(self.ticket, 0, waker, |_| NextStep::<()>::Wait);
        assert_eq!(checked, Checked::Nothing);
        assert!(!self.engine.apply(effects));
    }

    fn leave(self) {
        if self.engine.apply(self.engine.waiters.leave(&self.entry, self.ticket)) {
            self.engine.read(&self.entry);
        }
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Two switches away from a running thread find what a human would overlook; the environment can
    // ask for more.
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(check);
}

#[test]
fn no_wake_up_is_lost_between_the_first_reading_and_a_write() {
    model(|| {
        let engine = Engine::new(HELD);
        let writer = {
            let engine = engine.clone();
            thread::spawn(move || engine.write(DONE))
        };
        let waiter = engine.wait(false);
        // Were the wake-up lost, nobody would be left to wake this, which the model reports as a
        // deadlock.
        assert_eq!(waiter.outcome(), Some(DONE));
        waiter.leave();
        writer.join().unwrap();
        assert_eq!(engine.waiters.watched(), 0);
    });
}

/// A waiter joined others that waited already, and was given what a reading from before its call
/// had seen: an outcome that had been forgotten since.
#[test]
fn no_waiter_is_answered_by_a_reading_that_began_before_it_came() {
    model(|| {
        let engine = Engine::new(DONE);
        let earlier = engine.join(false);
        assert!(earlier.entry.request_reading());
        let reading = engine.reading();
        // The outcome is forgotten and the key granted again, elsewhere: nobody is notified.
        engine.record.store(HELD_AGAIN, Ordering::Release);
        let reader = {
            let (engine, entry) = (engine.clone(), earlier.entry.clone());
            thread::spawn(move || {
                if engine.apply(entry.publish(reading, 0)) {
                    engine.read(&entry);
                }
            })
        };
        let waiter = engine.wait(false);
        let seen = waiter.entry.latest(waiter.ticket, |seen| *seen);
        assert!(matches!(seen, None | Some(HELD_AGAIN)), "an answer from before the question: {seen:?}");
        reader.join().unwrap();
        // Either thread may have carried it out, but one reading began after the waiter came.
        assert_eq!(waiter.entry.latest(waiter.ticket, |seen| *seen), Some(HELD_AGAIN));
        waiter.leave();
        earlier.leave();
    });
}

#[test]
fn one_of_two_contenders_at_a_time_has_the_turn_and_each_gets_it() {
    model(|| {
        let engine = Engine::new(FREE);
        let trying = Arc::new(AtomicUsize::new(0));
        let contend = |engine: Engine, trying: Arc<AtomicUsize>| {
            let waiter = engine.wait(true);
            assert_eq!(waiter.outcome(), None);
            assert_eq!(trying.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
            trying.fetch_sub(1, Ordering::SeqCst);
            waiter.leave();
        };
        let other = {
            let (engine, trying) = (engine.clone(), trying.clone());
            thread::spawn(move || contend(engine, trying))
        };
        contend(engine, trying);
        other.join().unwrap();
    });
}

#[test]
fn a_contender_that_goes_away_with_the_offer_passes_it_on() {
    model(|| {
        let engine = Engine::new(HELD);
        // It is the first in line, and is not polled again after it was offered the key.
        let first = engine.wait(true);
        first.sleep();
        let second = engine.wait(true);
        let writer = {
            let engine = engine.clone();
            thread::spawn(move || engine.write(FREE))
        };
        let leaver = thread::spawn(move || first.leave());
        assert_eq!(second.outcome(), None);
        second.leave();
        writer.join().unwrap();
        leaver.join().unwrap();
    });
}

/// A waiter that was held but not polled kept a free key from all others: one wake-up went to it,
/// and nobody else was woken.
#[test]
fn a_contender_that_does_not_take_its_offer_loses_it_to_the_next() {
    model(|| {
        let engine = Engine::new(HELD);
        let idle = engine.wait(true);
        idle.sleep();
        let other = engine.wait(true);
        let writer = {
            let (engine, entry) = (engine.clone(), other.entry.clone());
            thread::spawn(move || {
                engine.write(FREE);
                assert!(!engine.apply(entry.pass_on(OFFER)));
            })
        };
        assert_eq!(other.outcome(), None);
        writer.join().unwrap();
        other.leave();
        idle.leave();
    });
}

#[test]
fn a_waiter_that_leaves_does_not_take_the_entry_of_another_with_it() {
    model(|| {
        let engine = Engine::new(HELD);
        let passer_by = {
            let engine = engine.clone();
            thread::spawn(move || engine.wait(false).leave())
        };
        let waiter = engine.wait(false);
        engine.write(DONE);
        assert_eq!(waiter.outcome(), Some(DONE));
        waiter.leave();
        passer_by.join().unwrap();
        assert_eq!(engine.waiters.watched(), 0);
    });
}
