//! The recorder of histories, and the search for a linearization.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, Timestamp};
use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::model::{Answer, Model, Op};

/// The maximum number of operations in a history of one key.
pub const MAX_OPERATIONS: usize = 128;

/// One operation on one key.
#[derive(Clone, Debug)]
pub struct Event {
    /// The time of the call, counted in calls and answers.
    pub called: u64,
    /// The time of the answer, and the answer. `None` if there was none, so that the operation may
    /// or may not have happened.
    pub answered: Option<(u64, Answer)>,
    /// The times that the store's clock had between call and answer.
    pub times: Vec<Timestamp>,
    /// The operation.
    pub op: Op,
}

/// Records operations and their answers, while it advances a manual clock.
#[derive(Debug)]
pub struct Recorder {
    clock: ManualClock,
    ticks: AtomicU64,
    /// The times that the clock has had or is about to have.
    times: Mutex<Vec<Timestamp>>,
    events: Mutex<HashMap<String, Vec<Event>>>,
}

impl Recorder {
    /// Returns a recorder for stores on `clock`, which only the recorder may advance from now on.
    #[must_use]
    pub fn new(clock: ManualClock) -> Self {
        let times = Mutex::new(vec![clock.now()]);
        Self { clock, ticks: AtomicU64::new(0), times, events: Mutex::default() }
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        let at = {
            let mut times = self.times.lock();
            let at = times.last().map_or(Timestamp::EPOCH, |last| last.saturating_add(by));
            times.push(at);
            at
        };
        self.clock.set(at);
    }

    /// Performs one operation and records its answer.
    pub fn record(&self, key: &str, op: Op, perform: impl FnOnce(&Op) -> Answer) {
        let from = self.clock.now();
        let called = self.ticks.fetch_add(1, Ordering::SeqCst);
        let answer = perform(&op);
        let answered = self.ticks.fetch_add(1, Ordering::SeqCst);
        let times = self.times.lock().iter().copied().filter(|at| *at >= from).collect();
        let event = Event { called, answered: Some((answered, answer)), times, op };
        self.events.lock().entry(key.to_owned()).or_default().push(event);
    }

    /// Returns the recorded operations, per key.
    #[must_use]
    pub fn into_events(self) -> HashMap<String, Vec<Event>> {
        self.events.into_inner()
    }
}

/// Checks whether there is an order in which `model` gives all answers of `history`.
///
/// # Errors
/// The history as text if there is no such order, or if it is longer than [`MAX_OPERATIONS`].
pub fn check(history: &[Event], model: &Model) -> Result<(), String> {
    if history.len() > MAX_OPERATIONS {
        return Err(format!(
            "a history of {} operations is too long; {MAX_OPERATIONS} can be checked",
            history.len()
        ));
    }
    let mut search = Search { history, tried: HashMap::new(), deepest: 0 };
    if search.goes_on(0, model) { Ok(()) } else { Err(search.refutation()) }
}

struct Search<'a> {
    history: &'a [Event],
    /// The states after each set of operations that did not lead to a linearization.
    tried: HashMap<u128, Vec<Model>>,
    deepest: u128,
}

impl Search<'_> {
    /// Returns whether the operations that are not in `done` can follow on `model`.
    fn goes_on(&mut self, done: u128, model: &Model) -> bool {
        if done.count_ones() > self.deepest.count_ones() {
            self.deepest = done;
        }
        let history = self.history;
        let left = || history.iter().enumerate().filter(move |(index, _)| done & (1 << index) == 0);
        // An operation that was called after another was answered comes after that one.
        let answers = left().filter_map(|(_, event)| event.answered.as_ref().map(|(at, _)| *at));
        let Some(horizon) = answers.min() else { return true };
        for (index, event) in left().filter(|(_, event)| event.called < horizon) {
            let done = done | (1 << index);
            for time in &event.times {
                let mut next = model.clone();
                let answer = next.apply(&event.op, *time);
                let fits = event.answered.as_ref().is_none_or(|(_, given)| *given == answer);
                if fits && self.is_new(done, &next) && self.goes_on(done, &next) {
                    return true;
                }
            }
        }
        false
    }

    fn is_new(&mut self, done: u128, model: &Model) -> bool {
        let tried = self.tried.entry(done).or_default();
        let new = !tried.contains(model);
        if new {
            tried.push(model.clone());
        }
        new
    }

    fn refutation(&self) -> String {
        let mut text = String::from("no order of these operations gives their answers:\n");
        for (index, event) in self.history.iter().enumerate() {
            let mark = if self.deepest & (1 << index) == 0 { "stuck" } else { "fits " };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{mark} {event:?}");
        }
        text
    }
}

#[cfg(test)]
mod tests;
