//! Callers that start together and stop together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use event_listener::Event;
use lessor::block_on;

use crate::recorder::{CallerRecord, Recorder, SharedHistogram};
use crate::sample::{ReplyCounts, Sample};

/// The kind and the number of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Threads, each of which blocks until its request is answered.
    Threads(u64),
    /// Tasks of an executor that has few threads.
    Tasks(u64),
}

impl Callers {
    /// Returns the number of callers.
    #[must_use]
    pub fn count(self) -> u64 {
        match self {
            Self::Threads(count) | Self::Tasks(count) => count,
        }
    }
}

/// A caller's future, to be run by an executor.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Blocks callers until all of them have arrived.
#[derive(Default)]
pub(crate) struct StartGate {
    arrived: AtomicU64,
    started: AtomicU64,
    is_open: AtomicBool,
    opened: Event,
}

impl StartGate {
    pub(crate) async fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while !self.is_open.load(Ordering::SeqCst) {
            let opened = self.opened.listen();
            if !self.is_open.load(Ordering::SeqCst) {
                opened.await;
            }
        }
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    /// Opens the gate after `count` callers have arrived, and returns after all of them have
    /// started.
    pub(crate) fn open_for(&self, count: u64) {
        let wait_until_all = |reached: &AtomicU64| {
            while reached.load(Ordering::SeqCst) < count {
                thread::sleep(Duration::from_micros(100));
            }
        };
        wait_until_all(&self.arrived);
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify(usize::MAX);
        wait_until_all(&self.started);
    }
}

/// Runs `work` once per caller. Each `work` ends after `duration`, or earlier if it has no more to
/// do.
pub(crate) fn run<F: Future<Output = CallerRecord> + Send + 'static>(
    callers: Callers,
    duration: Duration,
    spawn: &dyn Fn(Task),
    work: impl Fn(u64, Recorder) -> F + Clone + Send + 'static,
) -> Sample {
    let (gate, stop) = (Arc::new(StartGate::default()), Arc::new(AtomicBool::new(false)));
    let latencies = SharedHistogram::default();
    let (sender, receiver) = channel();
    let caller = |caller: u64| {
        let (gate, stop, latencies) = (gate.clone(), stop.clone(), latencies.clone());
        let (sender, work) = (Sender::clone(&sender), work.clone());
        async move {
            gate.pass().await;
            let working = work(caller, Recorder::new(stop, latencies));
            // `work` holds the service. The measuring thread has to be the last one to drop that.
            drop(work);
            let record = working.await;
            // The receiver is gone if another caller has panicked.
            let _ = sender.send(record);
        }
    };
    start(callers, spawn, caller);
    drop(sender);
    gate.open_for(callers.count());
    let mut records = Vec::new();
    let began = Instant::now();
    while (records.len() as u64) < callers.count() {
        let left = duration.saturating_sub(began.elapsed());
        match receiver.recv_timeout(if stop.load(Ordering::Relaxed) { Duration::MAX } else { left }) {
            Ok(record) => records.push(record),
            Err(RecvTimeoutError::Timeout) => stop.store(true, Ordering::Relaxed),
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("a caller panicked: {} of {} finished", records.len(), callers.count())
            }
        }
    }
    sum(&records, &latencies)
}

/// Starts one future per caller.
pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
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

fn sum(records: &[CallerRecord], latencies: &SharedHistogram) -> Sample {
    let began = records.iter().map(|record| record.began).min();
    let ended = records.iter().map(|record| record.ended).max();
    let elapsed = began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
    let mut replies = ReplyCounts::default();
    for record in records {
        replies.add(record.replies);
    }
    Sample::new(replies, latencies.latency(), elapsed)
}
