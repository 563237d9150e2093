//! Wakes callers' futures on separate threads, so that a waker that panics or blocks harms no other
//! caller.
//!
//! A waker is a caller's code. Usually it belongs to an executor, but it may do anything. The
//! threads that renew leases, read for waiters or perform writes must not run it. They hand it to a
//! [`Notifier`], which invokes it on another thread. If one waker blocks, another thread takes over
//! the remaining ones within a millisecond.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::sync::pending::is_own_waker;

/// The maximum number of threads of one notifier. If this many wakers block, later ones are
/// delayed.
const MAX_THREADS: usize = 64;
/// The time after which an idle thread ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which the watching thread helps with a queue that the other threads do not empty.
const BLOCKED_AFTER: Duration = Duration::from_millis(1);

thread_local! {
    /// True if only futures of an engine or of a store are polled on this thread.
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as one that polls only futures of an engine or of a store. Their wakers
/// are invoked in place.
///
/// A store calls this on each of its threads that waits to be woken by a [`Notifier`]. Otherwise
/// callers' wakers that block could delay the store itself.
pub fn mark_own_thread() {
    OWN_THREAD.set(true);
}

/// The waker of a waiting caller.
pub struct CallerWaker {
    waker: Waker,
    /// True if the waker runs no caller's code: it belongs to [`block_on`](crate::block_on), or to
    /// a thread that polls only futures of an engine or of a store.
    in_place: bool,
}

impl CallerWaker {
    /// Returns the waker of the future that is being polled.
    #[must_use]
    pub fn of(context: &Context<'_>) -> Self {
        let in_place = OWN_THREAD.get() || is_own_waker(context.waker());
        Self { waker: context.waker().clone(), in_place }
    }

    /// Returns whether the waker wakes the task of the future that is being polled.
    #[must_use]
    pub fn is_of(&self, context: &Context<'_>) -> bool {
        self.waker.will_wake(context.waker())
    }
}

/// Invokes callers' wakers, each at most once. The order is that of the calls of
/// [`wake`](Self::wake), unless a waker blocks.
///
/// Wakers that run a caller's code are invoked on threads of the notifier. The first such waker
/// starts a thread. A thread ends after ten idle seconds, or with the last clone of the notifier. A
/// waker that panics is reported by `tracing` and otherwise ignored.
#[derive(Clone)]
pub struct Notifier(Arc<Handle>);

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there is work.
    work: Condvar,
    /// Never notified: the watching thread sleeps on it.
    watch: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waker>,
    threads: usize,
    idle: usize,
    /// True if a thread checks that the others make progress, or is about to.
    watching: bool,
    /// True if the next thread that wakes up has to become the watching one.
    watch_next: bool,
    closed: bool,
}

impl Notifier {
    /// Returns a notifier. No thread is started yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Handle(Arc::default())))
    }

    /// Invokes all `wakers`. Returns without waiting for those that run on another thread.
    pub fn wake(&self, wakers: impl IntoIterator<Item = CallerWaker>) {
        let mut foreign = wakers.into_iter().filter_map(|caller| {
            if caller.in_place {
                caller.waker.wake();
                None
            } else {
                Some(caller.waker)
            }
        });
        let Some(first) = foreign.next() else { return };
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        state.queue.push_back(first);
        state.queue.extend(foreign);
        shared.assign_thread(state);
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

impl fmt::Debug for CallerWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerWaker").field("in_place", &self.in_place).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    /// Wakes an idle thread, or starts another one, to work on the queue.
    fn assign_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.idle > 0 {
            self.work.notify_one();
            return;
        }
        // The other threads may be working or blocked. The watching thread finds out which.
        let started =
            if state.threads == 0 { self.start(&mut state) } else { self.start_watching(&mut state) };
        if matches!(started, Started::NoThread) {
            // The system has no thread left. Blocking here is better than losing a wake-up.
            let queue = std::mem::take(&mut state.queue);
            drop(state);
            queue.into_iter().for_each(invoke);
        }
    }

    fn start(self: &Arc<Self>, state: &mut State) -> Started {
        if state.threads >= MAX_THREADS {
            return Started::Enough;
        }
        let shared = Arc::clone(self);
        let started = thread::Builder::new().name("lessor-notifier".to_owned()).spawn(move || shared.run());
        if started.is_err() {
            return Started::NoThread;
        }
        state.threads += 1;
        Started::Yes
    }

    fn run(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.watch_next) {
                if !state.queue.is_empty() {
                    self.watch.wait_for(&mut state, BLOCKED_AFTER);
                }
                state.watching = false;
            }
            while let Some(waker) = state.queue.pop_front() {
                // This waker may block. Then another thread has to work on the rest of the queue.
                if !state.queue.is_empty() {
                    let _ = self.start_watching(&mut state);
                }
                MutexGuard::unlocked(&mut state, || invoke(waker));
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let timed_out = self.work.wait_for(&mut state, IDLE_TIMEOUT).timed_out();
            state.idle -= 1;
            if timed_out && state.queue.is_empty() && !state.watch_next {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Makes an idle or another thread the watching one, unless there is one already.
    fn start_watching(self: &Arc<Self>, state: &mut State) -> Started {
        if state.watching {
            return Started::Enough;
        }
        (state.watching, state.watch_next) = (true, true);
        if state.idle > 0 {
            self.work.notify_one();
            return Started::Enough;
        }
        let started = self.start(state);
        if !matches!(started, Started::Yes) {
            (state.watching, state.watch_next) = (false, false);
        }
        started
    }
}

/// The outcome of a request for another thread.
enum Started {
    Yes,
    /// No other thread is needed, or the limit is reached.
    Enough,
    /// The system cannot start a thread.
    NoThread,
}

fn invoke(waker: Waker) {
    let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    let Err(panic) = woken else { return };
    // The destructor of the panic's payload and the subscriber of the event are callers' code too.
    std::mem::forget(catch_unwind(AssertUnwindSafe(|| {
        drop(panic);
        tracing::error!("the waker of a caller's future panicked; the future may never be polled again");
    })));
}
