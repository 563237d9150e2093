//! Wakes callers' futures where a waker that panics or blocks harms nobody else.
//!
//! A waker is a caller's code: an executor's, mostly, but anything may be behind it. The threads that renew leases, read for
//! waiters or carry out writes must not run it. They hand it to a [`Notifier`], which invokes it on a thread of its
//! own. While one waker blocks, another thread takes over the rest within a millisecond.

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

/// The most threads that one notifier starts: so many wakers may block before the next one is held up.
const MAX_THREADS: usize = 64;
/// How long a thread without work is kept.
const LINGER: Duration = Duration::from_secs(10);
/// How long a watching thread lets the others get on with the queue before it helps.
const PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    /// Only the futures of an engine or of a store are polled on this thread.
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one that polls nothing but the futures of an engine or of a store. Their wakers are invoked in place.
///
/// A store whose own thread waits for what a [`Notifier`] reports calls it on that thread. Otherwise callers' wakers that block could hold up the
/// store itself.
pub fn mark_own_thread() {
    OWN_THREAD.set(true);
}

/// The waker of a caller that waits, and whether it may be invoked in place.
pub struct CallerWaker {
    waker: Waker,
    /// The waker is that of [`block_on`](crate::block_on) or of a thread that polls only an engine's or a store's futures.
    in_place: bool,
}

impl CallerWaker {
    /// The waker of the future that is being polled.
    #[must_use]
    pub fn of(context: &Context<'_>) -> Self {
        let in_place = OWN_THREAD.get() || is_own_waker(context.waker());
        Self { waker: context.waker().clone(), in_place }
    }

    /// Whether it wakes the same task as the future that is being polled.
    #[must_use]
    pub fn is_of(&self, context: &Context<'_>) -> bool {
        self.waker.will_wake(context.waker())
    }
}

/// Invokes callers' wakers, each at most once, in the order in which they come unless one of them blocks.
///
/// Its threads start with the first foreign waker and end when there has been nothing to do for ten seconds, or with the last
/// clone of the notifier. A waker that panics is reported by `tracing` and otherwise ignored.
#[derive(Clone)]
pub struct Notifier(Arc<Handle>);

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified where there is something to do.
    work: Condvar,
    /// Never notified: the watching thread sleeps on it.
    watch: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waker>,
    threads: usize,
    idle: usize,
    /// A thread is about to watch, or watches, whether the others get on.
    watching: bool,
    /// The next thread that wakes up has to watch first.
    watch_next: bool,
    closed: bool,
}

impl Notifier {
    /// A notifier without threads.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Handle(Arc::default())))
    }

    /// Wakes all of them. Returns at once; foreign wakers are invoked soon, on another thread.
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
        shared.call_a_thread(state);
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
    /// Has an idle thread, or else a new one, look at the queue.
    fn call_a_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.idle > 0 {
            self.work.notify_one();
            return;
        }
        // The others may be at work, or blocked. A thread that watches finds out which of the two.
        let started =
            if state.threads == 0 { self.start(&mut state) } else { self.have_the_queue_watched(&mut state) };
        if matches!(started, Started::NoThread) {
            // No thread can be had. A waker that blocks is the lesser evil than one that is lost.
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
                    self.watch.wait_for(&mut state, PATIENCE);
                }
                state.watching = false;
            }
            while let Some(waker) = state.queue.pop_front() {
                // This waker may block: another thread has to see to the rest of the queue then.
                if !state.queue.is_empty() {
                    let _ = self.have_the_queue_watched(&mut state);
                }
                MutexGuard::unlocked(&mut state, || invoke(waker));
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let timed_out = self.work.wait_for(&mut state, LINGER).timed_out();
            state.idle -= 1;
            if timed_out && state.queue.is_empty() && !state.watch_next {
                break;
            }
        }
        state.threads -= 1;
    }

    fn have_the_queue_watched(self: &Arc<Self>, state: &mut State) -> Started {
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

/// The outcome of asking for one more thread.
enum Started {
    Yes,
    /// No other is needed, or allowed.
    Enough,
    /// The system has none.
    NoThread,
}

fn invoke(waker: Waker) {
    let woken = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    let Err(panic) = woken else { return };
    // The destructor of what was thrown is a caller's code as well, and so is what receives the event.
    std::mem::forget(catch_unwind(AssertUnwindSafe(|| {
        drop(panic);
        tracing::error!("the waker of a caller's future panicked; the future may never be polled again");
    })));
}
