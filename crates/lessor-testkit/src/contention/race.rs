//! Callers that start together and are stopped together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use event_listener::Event;
use futures_lite::future::yield_now;
use lessor_core::block_on;

use super::sample::{Sample, Tally};
use crate::subject::really_wait;

/// Who calls, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Each waits for its answer, and nothing else happens on it meanwhile.
    Threads(u64),
    /// On an executor with few threads.
    Tasks(u64),
}

impl Callers {
    /// How many there are.
    #[must_use]
    pub fn count(self) -> u64 {
        match self {
            Self::Threads(count) | Self::Tasks(count) => count,
        }
    }
}

/// A caller that is to be run by an executor.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Holds callers back until all are there.
#[derive(Default)]
pub(super) struct Gate {
    arrived: AtomicU64,
    passed: AtomicU64,
    is_open: AtomicBool,
    opened: Event,
}

impl Gate {
    pub(super) async fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while !self.is_open.load(Ordering::SeqCst) {
            let opened = self.opened.listen();
            if !self.is_open.load(Ordering::SeqCst) {
                opened.await;
            }
        }
        self.passed.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns when all are through: on a busy machine that takes some of them a while.
    pub(super) fn open_for(&self, count: u64) {
        let all = |reached: &AtomicU64| {
            while reached.load(Ordering::SeqCst) < count {
                really_wait(Duration::from_micros(100));
            }
        };
        all(&self.arrived);
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify(usize::MAX);
        all(&self.passed);
    }
}

/// One caller's watch: tells it when to stop, and how long its operations took.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    began: Instant,
    laps: Vec<Duration>,
    told: Tally,
    /// The operation that is timed next.
    next: u64,
    /// Whether only some are.
    is_seldom: bool,
}

/// What one caller did.
pub(super) struct Done {
    began: Instant,
    ended: Instant,
    laps: Vec<Duration>,
    told: Tally,
}

/// After so many operations it is decided whether each is timed.
const FIRST: usize = 32;
const SHORT: Duration = Duration::from_micros(2);
/// So many operations are a task's turn.
const TURN: u64 = 64;

#[derive(Clone, Copy)]
pub(super) enum What {
    Granted,
    Refused,
    Replayed,
}

impl Watch {
    fn new(stop: Arc<AtomicBool>) -> Self {
        Self {
            stop,
            began: now(),
            laps: Vec::with_capacity(1024),
            told: Tally::default(),
            next: 0,
            is_seldom: false,
        }
    }

    /// Before an operation; `None` if it is time to stop, and this is not the first. Lets other tasks have their turn now and then, since
    /// a guard that answers at once never does.
    #[inline]
    pub(super) async fn begin(&self) -> Option<Option<Instant>> {
        if self.told.total() % TURN == TURN - 1 {
            yield_now().await;
        }
        let is_over = self.stop.load(Ordering::Relaxed) && self.told.total() > 0;
        (!is_over).then(|| self.begin_in_any_case())
    }

    #[inline]
    pub(super) fn begin_in_any_case(&self) -> Option<Instant> {
        (self.told.total() == self.next).then(now)
    }

    /// After it.
    #[inline]
    pub(super) fn end(&mut self, began: Option<Instant>, what: What) {
        match what {
            What::Granted => self.told.granted += 1,
            What::Refused => self.told.refused += 1,
            What::Replayed => self.told.replayed += 1,
        }
        if let Some(began) = began {
            self.laps.push(began.elapsed());
            if self.laps.len() == FIRST {
                self.is_seldom = median(&self.laps) < SHORT;
            }
            // One in sixteen, at steps that are not alike: requests may repeat themselves.
            self.next += if self.is_seldom { 13 + self.laps.len() as u64 * 5 % 7 } else { 1 };
        }
    }

    pub(super) fn done(self) -> Done {
        Done { began: self.began, ended: now(), laps: self.laps, told: self.told }
    }
}

fn median(laps: &[Duration]) -> Duration {
    let mut laps = laps.to_vec();
    laps.sort_unstable();
    laps.get(laps.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how long it really takes")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Has `work` done by each of the callers for as long as `length`, or until it has nothing to do any more.
pub(super) fn race<F: Future<Output = Done> + Send + 'static>(
    callers: Callers,
    length: Duration,
    spawn: &dyn Fn(Task),
    work: impl Fn(u64, Watch) -> F + Clone + Send + 'static,
) -> Sample {
    let (gate, stop) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let (sender, receiver) = channel();
    let caller = |caller: u64| {
        let (gate, stop, sender, work) = (gate.clone(), stop.clone(), Sender::clone(&sender), work.clone());
        async move {
            gate.pass().await;
            let working = work(caller, Watch::new(stop));
            // The guard is whoever measures' to drop: here it would go while something else is measured.
            drop(work);
            let done = working.await;
            // Nobody waits any more if another caller panicked.
            let _ = sender.send(done);
        }
    };
    run(callers, spawn, caller);
    drop(sender);
    gate.open_for(callers.count());
    let mut all = Vec::new();
    let began = now();
    while (all.len() as u64) < callers.count() {
        let left = length.saturating_sub(began.elapsed());
        match receiver.recv_timeout(if stop.load(Ordering::Relaxed) { Duration::MAX } else { left }) {
            Ok(done) => all.push(done),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => stop.store(true, Ordering::Relaxed),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                unreachable!("a caller panicked: {} of {} came back", all.len(), callers.count())
            }
        }
    }
    sum(all)
}

/// Runs a future for each of the callers.
pub(super) fn run<F: Future<Output = ()> + Send + 'static>(
    callers: Callers,
    spawn: &dyn Fn(Task),
    mut caller: impl FnMut(u64) -> F,
) {
    for number in 0..callers.count() {
        let future = caller(number);
        match callers {
            Callers::Threads(_) => drop(thread::spawn(move || block_on(future))),
            Callers::Tasks(_) => spawn(Box::pin(future)),
        }
    }
}

fn sum(all: Vec<Done>) -> Sample {
    let began = all.iter().map(|done| done.began).min();
    let ended = all.iter().map(|done| done.ended).max();
    let took = began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
    let (mut told, mut laps) = (Tally::default(), Vec::new());
    for done in all {
        told.add(done.told);
        laps.extend(done.laps);
    }
    Sample::of(told, laps, took)
}
