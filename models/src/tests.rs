use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;

use crate::registry::{Availability, Checked, Effects, NextStep, OFFER, Purpose, Registry, Ticket, Watched};
use crate::sync::primitives::{Arc, AtomicUsize, Ordering};

const KEY: &str = "key";

/// The values of the model's record.
const HELD: usize = 0;
const FREE: usize = 1;
const DONE: usize = 2;
/// The same as `HELD`, after the outcome was forgotten and the key granted again.
const HELD_AGAIN: usize = 3;

type Waiters = Registry<&'static str, usize, Waker>;
type Entry = Arc<Watched<&'static str, usize, Waker>>;

/// An engine over a store whose record is a number. It is ordered only by release and acquire, as
/// under a lock.
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

    /// Performs a requested reading, and those that are requested meanwhile.
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
        let (entry, ticket) = self.waiters.join(&KEY, if contends { Purpose::Acquire } else { Purpose::End });
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
    /// Returns the outcome, or `None` when the waiter may try to acquire the key.
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
    // Two preemptions per thread find what humans overlook. The environment can set more.
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
        // If the wake-up were lost, nothing would wake this waiter, and the model would report a
        // deadlock.
        assert_eq!(waiter.outcome(), Some(DONE));
        waiter.leave();
        writer.join().unwrap();
        assert_eq!(engine.waiters.watched(), 0);
    });
}

/// A waiter joined other waiters and received a reading from before its call: an outcome that had
/// since been forgotten.
#[test]
fn no_waiter_accepts_a_reading_that_began_before_it_registered() {
    model(|| {
        let engine = Engine::new(DONE);
        let earlier = engine.join(false);
        assert!(earlier.entry.request_reading());
        let reading = engine.reading();
        // Another process forgets the outcome, and the key is granted again. No notification is
        // sent.
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
        // Either thread may have performed it, but one reading began after the waiter registered.
        assert_eq!(waiter.entry.latest(waiter.ticket, |seen| *seen), Some(HELD_AGAIN));
        waiter.leave();
        earlier.leave();
    });
}

#[test]
fn contenders_try_one_at_a_time_and_each_gets_a_try() {
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
fn an_offer_passes_on_when_its_contender_leaves() {
    model(|| {
        let engine = Engine::new(HELD);
        // The first waiter is not polled again after the key was offered to it.
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

/// A waiter that was not polled kept a free key from all others: it received the only wake-up.
#[test]
fn an_offer_that_is_not_taken_passes_to_the_next_contender() {
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
fn a_waiter_that_leaves_keeps_the_entry_for_other_waiters() {
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
