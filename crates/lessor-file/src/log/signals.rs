//! Requests to the log's two threads, the writer and the maintenance thread.

use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, Thread};
use std::time::Duration;

use lessor_core::StoreError;
use parking_lot::Mutex;

/// A caller that waits for a compaction. It receives the outcome.
pub(crate) type CompactionRequest = Sender<Result<(), StoreError>>;

/// Requests to the two threads. A flag is set first and the thread unparked after that; the thread
/// clears the flag before it acts.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    writer: OnceLock<Thread>,
    maintenance: OnceLock<Thread>,
    /// A future waits for a frame, or no caller leads the next one.
    is_urgent: AtomicBool,
    /// The writer sleeps until it is unparked.
    is_idle: AtomicBool,
    /// The clock reservation runs out soon.
    is_reservation_due: AtomicBool,
    /// A caller waits for the clock reservation to be extended.
    is_reservation_awaited: AtomicBool,
    is_stopping: AtomicBool,
    is_maintenance_due: AtomicBool,
    /// The next segment has to be made or extended.
    is_segment_due: AtomicBool,
    compactions: Mutex<Vec<CompactionRequest>>,
}

impl Signals {
    pub(crate) fn set_writer(&self, thread: Thread) {
        let _ = self.writer.set(thread);
    }

    pub(crate) fn set_maintenance(&self, thread: Thread) {
        let _ = self.maintenance.set(thread);
    }

    /// Returns whether `thread` is the maintenance thread.
    pub(crate) fn is_maintenance(&self, thread: thread::ThreadId) -> bool {
        self.maintenance.get().is_some_and(|maintenance| maintenance.id() == thread)
    }

    /// Wakes the writer if it sleeps, so that it looks after the staged frame.
    pub(crate) fn nudge_writer(&self) {
        if self.is_idle.load(Ordering::Relaxed) && self.is_idle.swap(false, Ordering::SeqCst) {
            unpark(&self.writer);
        }
    }

    /// Makes the writer lead as soon as it can.
    pub(crate) fn wake_writer(&self) {
        if !self.is_urgent.swap(true, Ordering::SeqCst) {
            unpark(&self.writer);
        }
    }

    /// Requests an extension of the clock reservation, within a tick of the writer.
    pub(crate) fn request_reservation(&self) {
        if !self.is_reservation_due.load(Ordering::Relaxed)
            && !self.is_reservation_due.swap(true, Ordering::SeqCst)
        {
            self.nudge_writer();
        }
    }

    /// Requests an extension of the clock reservation at once, for a caller that waits for it.
    pub(crate) fn await_reservation(&self) {
        if !self.is_reservation_awaited.swap(true, Ordering::SeqCst) {
            unpark(&self.writer);
        }
    }

    /// Requests the next segment. The maintenance thread makes it even in the middle of a
    /// compaction.
    pub(crate) fn request_segment(&self) {
        self.is_segment_due.store(true, Ordering::SeqCst);
        self.wake_maintenance();
    }

    pub(crate) fn wake_maintenance(&self) {
        self.is_maintenance_due.store(true, Ordering::SeqCst);
        self.unpark_maintenance();
    }

    pub(crate) fn unpark_maintenance(&self) {
        unpark(&self.maintenance);
    }

    /// Makes both threads end.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.is_idle.store(false, Ordering::SeqCst);
        self.is_maintenance_due.store(true, Ordering::SeqCst);
        unpark(&self.maintenance);
        unpark(&self.writer);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn take_urgent(&self) -> bool {
        self.is_urgent.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn take_reservation_due(&self) -> bool {
        self.is_reservation_due.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn take_reservation_awaited(&self) -> bool {
        self.is_reservation_awaited.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn is_maintenance_due(&self) -> bool {
        self.is_maintenance_due.load(Ordering::SeqCst)
    }

    pub(crate) fn clear_maintenance(&self) {
        self.is_maintenance_due.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_segment_due(&self) -> bool {
        self.is_segment_due.load(Ordering::Relaxed)
    }

    pub(crate) fn clear_segment(&self) {
        self.is_segment_due.store(false, Ordering::SeqCst);
    }

    pub(crate) fn push_compaction(&self, request: CompactionRequest) {
        self.compactions.lock().push(request);
    }

    pub(crate) fn take_compactions(&self) -> Vec<CompactionRequest> {
        mem::take(&mut *self.compactions.lock())
    }

    /// Parks the writer's thread until it is unparked, for `timeout` at most. Returns at once if a
    /// request came before the thread was marked as idle. Returns whether the thread was parked.
    pub(crate) fn sleep(&self, has_work: impl FnOnce() -> bool, timeout: Option<Duration>) -> bool {
        self.is_idle.store(true, Ordering::SeqCst);
        let requests = [&self.is_stopping, &self.is_reservation_due, &self.is_reservation_awaited];
        let sleeps = !has_work() && !requests.iter().any(|flag| flag.load(Ordering::SeqCst));
        if sleeps {
            match timeout {
                Some(timeout) => thread::park_timeout(timeout),
                None => thread::park(),
            }
        }
        self.is_idle.store(false, Ordering::SeqCst);
        sleeps
    }
}

fn unpark(thread: &OnceLock<Thread>) {
    if let Some(thread) = thread.get() {
        thread.unpark();
    }
}
