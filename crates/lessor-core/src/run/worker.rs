//! A background thread of an engine: a small executor and its timers.
//!
//! An engine has three: for leases, for the readings of waiters, and for purging. No thread delays
//! another, and none runs a caller's code.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::Duration;

use async_executor::Executor;
use parking_lot::Mutex;

use crate::data::cause::Cause;
use crate::data::error::Error;
use crate::data::time::{Monotonic, Timestamp};
use crate::run::clock::EngineClock;
use crate::sync::pending::Unpark;
use crate::sync::wakers::{CallerWaker, Notifier, mark_own_thread};

/// The maximum number of tasks that run between two checks of the timers.
const TASKS_PER_CHECK: u32 = 32;

/// A running thread. Dropping the worker stops the thread.
pub(crate) struct Worker {
    core: Arc<Core>,
    thread: Thread,
}

/// Spawns tasks on a worker without keeping it alive.
#[derive(Clone)]
pub(crate) struct Spawner(Weak<Core>);

struct Core {
    executor: Executor<'static>,
    timers: Mutex<Timers>,
    clock: Arc<EngineClock>,
    notifier: Notifier,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Timers {
    /// The number distinguishes timers of the same instant.
    by_store_time: BTreeMap<(Timestamp, u64), CallerWaker>,
    by_real_time: BTreeMap<(Monotonic, u64), CallerWaker>,
    count: u64,
}

impl Worker {
    pub(crate) fn start(name: &str, clock: Arc<EngineClock>, notifier: Notifier) -> Result<Self, Error> {
        let core = Arc::new(Core {
            executor: Executor::new(),
            timers: Mutex::default(),
            clock,
            notifier,
            stopping: AtomicBool::new(false),
        });
        let worker = Arc::clone(&core);
        let thread =
            thread::Builder::new().name(name.to_owned()).spawn(move || worker.run()).map_err(|error| {
                Error::Thread(Cause::new("the background thread could not be started").with_source(error))
            })?;
        Ok(Self { core, thread: thread.thread().clone() })
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.core))
    }

    /// Returns a future that resolves when the store's clock reaches `at`.
    pub(crate) fn sleep_until(&self, at: Timestamp) -> Sleep {
        self.sleep(Due::StoreTime(at))
    }

    /// Returns a future that resolves at an instant of real time, independently of the store's
    /// clock.
    pub(crate) fn pause_until(&self, at: Monotonic) -> Sleep {
        self.sleep(Due::RealTime(at))
    }

    fn sleep(&self, due: Due) -> Sleep {
        Sleep { core: Arc::downgrade(&self.core), thread: self.thread.clone(), due, id: None }
    }

    /// Wakes the thread to check its timers, because the store's clock has been set.
    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }
}

impl Spawner {
    /// Runs `task` to its end, or until the engine is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(core) = self.0.upgrade() {
            core.executor.spawn(task).detach();
        }
    }
}

/// Stops the thread without waiting for it, because the thread itself may drop the last handle.
impl Drop for Worker {
    fn drop(&mut self) {
        self.core.stopping.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Core {
    fn run(&self) {
        mark_own_thread();
        let waker = Unpark::waker();
        let mut context = Context::from_waker(&waker);
        // The tick must stay alive while the thread is parked, because the executor notifies it.
        let mut tick = Box::pin(self.executor.tick());
        while !self.stopping.load(Ordering::SeqCst) {
            let mut ran = 0;
            let busy = loop {
                // Only a store can panic here, because callers' code does not run on this thread.
                let polled = catch_unwind(AssertUnwindSafe(|| tick.as_mut().poll(&mut context).is_ready()));
                if polled.is_err() {
                    tracing::error!("a store panicked in the background; its operation is cancelled");
                }
                if polled.unwrap_or(true) {
                    tick.set(self.executor.tick());
                } else {
                    break false;
                }
                ran += 1;
                if ran == TASKS_PER_CHECK {
                    break true;
                }
            };
            match self.fire_timers() {
                Next::Again => {}
                _ if busy => {}
                Next::Never => thread::park(),
                Next::In(wait) => thread::park_timeout(wait),
            }
        }
    }

    /// Wakes the tasks whose timers are due. Returns what the thread does next.
    fn fire_timers(&self) -> Next {
        let mut timers = self.timers.lock();
        let (store_time, real_time) = (timers.by_store_time.is_empty(), timers.by_real_time.is_empty());
        if store_time && real_time {
            return Next::Never;
        }
        drop(timers);
        let now = if store_time { Timestamp::EPOCH } else { self.clock.now() };
        let real_now = if real_time { Monotonic::default() } else { Monotonic::now() };
        timers = self.timers.lock();
        let due = take_due(&mut timers.by_store_time, now);
        let really_due = take_due(&mut timers.by_real_time, real_now);
        let next = timers.by_store_time.keys().next().map(|(at, _)| at.saturating_since(now));
        let really_next = timers.by_real_time.keys().next().map(|(at, _)| at.saturating_since(real_now));
        drop(timers);
        if due.is_empty() && really_due.is_empty() {
            return next.into_iter().chain(really_next).min().map_or(Next::Never, Next::In);
        }
        self.notifier.wake(due.into_values().chain(really_due.into_values()));
        Next::Again
    }
}

/// Adds or replaces a timer. Returns the replaced waker, and whether the timer is now the first
/// one.
fn insert<K: Ord + Copy, V>(timers: &mut BTreeMap<K, V>, key: K, value: V) -> (Option<V>, bool) {
    let replaced = timers.insert(key, value);
    (replaced, timers.keys().next() == Some(&key))
}

fn take_due<T: Ord + Copy, V>(timers: &mut BTreeMap<(T, u64), V>, now: T) -> BTreeMap<(T, u64), V> {
    let later = timers.split_off(&(now, u64::MAX));
    std::mem::replace(timers, later)
}

enum Next {
    Again,
    In(Duration),
    Never,
}

/// A timer. Dropping it removes it.
pub(crate) struct Sleep {
    core: Weak<Core>,
    thread: Thread,
    due: Due,
    id: Option<u64>,
}

#[derive(Clone, Copy)]
enum Due {
    StoreTime(Timestamp),
    RealTime(Monotonic),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(core) = self.core.upgrade() else { return Poll::Pending };
        let is_over = match self.due {
            Due::StoreTime(at) => core.clock.now() >= at,
            Due::RealTime(at) => Monotonic::now() >= at,
        };
        if is_over {
            return Poll::Ready(());
        }
        let waker = CallerWaker::of(context);
        let mut timers = core.timers.lock();
        let id = *self.id.get_or_insert_with(|| {
            timers.count += 1;
            timers.count
        });
        let (replaced, is_first) = match self.due {
            Due::StoreTime(at) => insert(&mut timers.by_store_time, (at, id), waker),
            Due::RealTime(at) => insert(&mut timers.by_real_time, (at, id), waker),
        };
        drop(timers);
        // The destructor of a waker is a caller's code, so it runs outside of the lock.
        drop(replaced);
        if is_first {
            self.thread.unpark();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let (Some(id), Some(core)) = (self.id, self.core.upgrade()) else { return };
        let mut timers = core.timers.lock();
        let removed = match self.due {
            Due::StoreTime(at) => timers.by_store_time.remove(&(at, id)),
            Due::RealTime(at) => timers.by_real_time.remove(&(at, id)),
        };
        drop(timers);
        drop(removed);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("thread", &self.thread.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
