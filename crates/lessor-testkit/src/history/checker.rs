//! The recorder of a history, and the search for an order of its operations.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Clock, Timestamp};
use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::model::{Model, Op, Said};

/// The longest history of one key that can be checked.
pub const MOST: usize = 128;

/// One operation on one key.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was called, counted in calls and answers.
    pub called: u64,
    /// When it was answered; `None` if it never was, so that it may have happened or not.
    pub answered: Option<(u64, Said)>,
    /// The times that the store's clock showed between the two.
    pub times: Vec<Timestamp>,
    /// What was asked.
    pub op: Op,
}

/// Takes down who called what and was answered what, while a clock is set by hand.
#[derive(Debug)]
pub struct Recorder {
    clock: ManualClock,
    ticks: AtomicU64,
    /// All times that the clock has shown or is about to show.
    times: Mutex<Vec<Timestamp>>,
    events: Mutex<HashMap<String, Vec<Event>>>,
}

impl Recorder {
    /// A recorder for stores on `clock`, which from now on nobody else may move.
    #[must_use]
    pub fn new(clock: ManualClock) -> Self {
        let times = Mutex::new(vec![clock.now()]);
        Self { clock, ticks: AtomicU64::new(0), times, events: Mutex::default() }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let at = {
            let mut times = self.times.lock();
            let at = times.last().map_or(Timestamp::EPOCH, |last| last.saturating_add(by));
            times.push(at);
            at
        };
        self.clock.set(at);
    }

    /// Takes down one operation and its answer.
    pub fn record(&self, key: &str, op: Op, perform: impl FnOnce(&Op) -> Said) {
        let from = self.clock.now();
        let called = self.ticks.fetch_add(1, Ordering::SeqCst);
        let said = perform(&op);
        let answered = self.ticks.fetch_add(1, Ordering::SeqCst);
        let times = self.times.lock().iter().copied().filter(|at| *at >= from).collect();
        let event = Event { called, answered: Some((answered, said)), times, op };
        self.events.lock().entry(key.to_owned()).or_default().push(event);
    }

    /// What was taken down, per key.
    #[must_use]
    pub fn into_events(self) -> HashMap<String, Vec<Event>> {
        self.events.into_inner()
    }
}

/// Whether there is an order in which `model` gives every answer of `history`.
///
/// # Errors
/// The history in words, if there is none, or if it is longer than [`MOST`].
pub fn check(history: &[Event], model: &Model) -> Result<(), String> {
    if history.len() > MOST {
        return Err(format!("a history of {} operations is too long; {MOST} can be checked", history.len()));
    }
    let mut search = Search { history, tried: HashMap::new(), deepest: 0 };
    if search.goes_on(0, model) { Ok(()) } else { Err(search.refutation()) }
}

struct Search<'a> {
    history: &'a [Event],
    /// The states that each set of operations led to and that came to nothing.
    tried: HashMap<u128, Vec<Model>>,
    deepest: u128,
}

impl Search<'_> {
    /// Whether the operations that are not in `done` can follow on `model`.
    fn goes_on(&mut self, done: u128, model: &Model) -> bool {
        if done.count_ones() > self.deepest.count_ones() {
            self.deepest = done;
        }
        let history = self.history;
        let left = || history.iter().enumerate().filter(move |(index, _)| done & (1 << index) == 0);
        // Whoever was called after somebody else's answer comes after that one.
        let answers = left().filter_map(|(_, event)| event.answered.as_ref().map(|(at, _)| *at));
        let Some(horizon) = answers.min() else { return true };
        for (index, event) in left().filter(|(_, event)| event.called < horizon) {
            let done = done | (1 << index);
            for time in &event.times {
                let mut next = model.clone();
                let said = next.apply(&event.op, *time);
                let fits = event.answered.as_ref().is_none_or(|(_, answer)| *answer == said);
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
