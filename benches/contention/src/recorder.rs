//! Recording of replies and latencies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::yield_now;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::sample::{Latency, ReplyCounts};

/// The latencies of all callers of a run.
#[derive(Clone)]
pub(crate) struct SharedHistogram(Arc<Mutex<Histogram<u64>>>);

/// The highest latency that a histogram distinguishes.
const MAX_LATENCY: Duration = Duration::from_secs(3600);
/// Percentiles are exact to one in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

impl Default for SharedHistogram {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the library accepts")]
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, nanos(MAX_LATENCY), SIGNIFICANT_DIGITS);
        Self(Arc::new(Mutex::new(histogram.expect("the bounds are valid"))))
    }
}

impl SharedHistogram {
    /// Records all of `latencies`, which are in nanoseconds.
    pub(crate) fn record_all(&self, latencies: &[u64]) {
        let mut histogram = self.0.lock();
        for latency in latencies {
            histogram.saturating_record(*latency);
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let histogram = self.0.lock();
        let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile));
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// Returns the time in whole nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The reply to an operation.
#[derive(Clone, Copy)]
pub(crate) enum ReplyKind {
    Acquired,
    InProgress,
    Completed,
}

/// Counts the replies to one caller, and measures its latencies.
pub(crate) struct Recorder {
    stop: Arc<AtomicBool>,
    shared: SharedHistogram,
    began: Instant,
    /// Latencies in nanoseconds that are not in the shared histogram yet.
    buffer: Vec<u64>,
    replies: ReplyCounts,
    timed: u64,
    /// The number of the next operation that is timed.
    next_timed: u64,
    /// Set if only one operation in sixteen is timed.
    is_sampled: bool,
}

/// The result of one caller.
pub(crate) struct CallerRecord {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) replies: ReplyCounts,
}

/// The number of timed operations whose median decides about sampling.
const FIRST: u64 = 32;
const SHORT: Duration = Duration::from_micros(2);
/// The number of operations after which a task yields.
const TURN: u64 = 64;
/// The number of latencies that a caller buffers.
const BUFFERED: usize = 128;

impl Recorder {
    pub(crate) fn new(stop: Arc<AtomicBool>, shared: SharedHistogram) -> Self {
        Self {
            stop,
            shared,
            began: Instant::now(),
            buffer: Vec::with_capacity(BUFFERED),
            replies: ReplyCounts::default(),
            timed: 0,
            next_timed: 0,
            is_sampled: false,
        }
    }

    /// Begins the measured time anew, after a preparation by the caller.
    pub(crate) fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// Begins an operation. Returns `None` if the run is over and the caller has completed at least
    /// one operation. Yields from time to time, because a service that answers at once never does.
    #[inline]
    pub(crate) async fn begin(&self) -> Option<Option<Instant>> {
        if self.replies.total() % TURN == TURN - 1 {
            yield_now().await;
        }
        let is_over = self.stop.load(Ordering::Relaxed) && self.replies.total() > 0;
        (!is_over).then(|| self.begin_unconditionally())
    }

    #[inline]
    pub(crate) fn begin_unconditionally(&self) -> Option<Instant> {
        (self.replies.total() == self.next_timed).then(Instant::now)
    }

    /// Ends an operation.
    #[inline]
    pub(crate) fn end(&mut self, began: Option<Instant>, reply: ReplyKind) {
        match reply {
            ReplyKind::Acquired => self.replies.acquired += 1,
            ReplyKind::InProgress => self.replies.in_progress += 1,
            ReplyKind::Completed => self.replies.completed += 1,
        }
        if let Some(began) = began {
            self.record(began.elapsed());
        }
    }

    fn record(&mut self, latency: Duration) {
        self.buffer.push(nanos(latency));
        self.timed += 1;
        if self.timed == FIRST {
            self.is_sampled = median(&self.buffer) < nanos(SHORT);
        }
        // One in sixteen on average. The steps differ, because requests may be periodic.
        self.next_timed += if self.is_sampled { 13 + self.timed * 5 % 7 } else { 1 };
        if self.buffer.len() == BUFFERED {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.shared.record_all(&self.buffer);
        self.buffer.clear();
    }

    pub(crate) fn finish(mut self) -> CallerRecord {
        let ended = Instant::now();
        self.flush();
        CallerRecord { began: self.began, ended, replies: self.replies }
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
