//! The engine's one background thread: it runs timers and small tasks (renewals, abandoned leases, readers for
//! waiters, purges), so that nothing blocks in `Drop` and no executor has to be kept fed for a lease to live.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use async_executor::{Executor, Task};
use event_listener::Event;
use parking_lot::Mutex;

use crate::error::Error;
use crate::store::Store;
use crate::time::Timestamp;

/// How soon to ask again for the time when the store could not tell it.
const CLOCK_RETRY: Duration = Duration::from_millis(100);

/// A handle on the thread; dropping the last one stops it.
pub(crate) struct Janitor {
    core: Arc<Core>,
    thread: Thread,
}

struct Core {
    store: Arc<dyn Store>,
    executor: Executor<'static>,
    timers: Mutex<Timers>,
    /// Tasks that nobody waits for and that shutdown has to see done.
    owed: AtomicUsize,
    paid: Event,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Timers {
    /// Who is woken when; the number tells apart those of the same instant.
    due: BTreeMap<(Timestamp, u64), Waker>,
    count: u64,
}

impl Janitor {
    pub(crate) fn start(store: Arc<dyn Store>) -> Result<Self, Error> {
        let core = Arc::new(Core {
            store,
            executor: Executor::new(),
            timers: Mutex::default(),
            owed: AtomicUsize::new(0),
            paid: Event::new(),
            stopping: AtomicBool::new(false),
        });
        let worker = Arc::clone(&core);
        let thread = thread::Builder::new()
            .name("lessor-janitor".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| Error::Thread { reason: error.to_string() })?;
        Ok(Self { core, thread: thread.thread().clone() })
    }

    /// Runs `work` in the background until it is done or the task is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Task<()> {
        self.core.executor.spawn(work)
    }

    /// Runs `work` in the background to its end; [`settle`](Self::settle) waits for it.
    pub(crate) fn owe(&self, work: impl Future<Output = ()> + Send + 'static) {
        let debt = Debt::new(&self.core);
        self.spawn(async move {
            let _debt = debt;
            work.await;
        })
        .detach();
    }

    /// Resolves once nothing is owed any more.
    pub(crate) async fn settle(&self) {
        while self.core.owed.load(Ordering::SeqCst) > 0 {
            let paid = self.core.paid.listen();
            if self.core.owed.load(Ordering::SeqCst) > 0 {
                paid.await;
            }
        }
    }

    /// Resolves when the store's clock reaches `at`.
    pub(crate) fn sleep_until(&self, at: Timestamp) -> Sleep {
        Sleep { core: Arc::clone(&self.core), thread: self.thread.clone(), at, id: None }
    }

    /// Looks at the timers again: the clock made a step.
    pub(crate) fn nudge(&self) {
        self.thread.unpark();
    }
}

/// Ends the thread without waiting for it: the last handle may be dropped by the thread itself.
impl Drop for Janitor {
    fn drop(&mut self) {
        self.core.stopping.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl fmt::Debug for Janitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Janitor").field("owed", &self.core.owed).finish_non_exhaustive()
    }
}

struct Debt(Arc<Core>);

impl Debt {
    fn new(core: &Arc<Core>) -> Self {
        core.owed.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(core))
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if self.0.owed.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.paid.notify(usize::MAX);
        }
    }
}

/// Unparking is remembered, so a wake-up between the last look and the park is not lost.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Core {
    fn run(&self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        // The tick stays alive while the thread is parked: it is what the executor notifies.
        let mut tick = Box::pin(self.executor.tick());
        loop {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            if tick.as_mut().poll(&mut context).is_ready() {
                tick.set(self.executor.tick());
                continue;
            }
            match self.fire() {
                Next::Again => {}
                Next::Never => thread::park(),
                Next::In(wait) => thread::park_timeout(wait),
            }
        }
        // What was cancelled is dropped by running it once more; it may hold handles on this very executor.
        drop(tick);
        while self.executor.try_tick() {}
    }

    /// Wakes all who are due.
    fn fire(&self) -> Next {
        if self.timers.lock().due.is_empty() {
            return Next::Never;
        }
        let Some(now) = self.now() else { return Next::In(CLOCK_RETRY) };
        let mut timers = self.timers.lock();
        let later = timers.due.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut timers.due, later);
        let next = timers.due.keys().next().map(|(at, _)| at.saturating_since(now));
        drop(timers);
        if due.is_empty() {
            return next.map_or(Next::Never, Next::In);
        }
        due.into_values().for_each(Waker::wake);
        Next::Again
    }

    /// `None` if the store cannot tell at once.
    fn now(&self) -> Option<Timestamp> {
        self.store.now().try_take().ok()?.ok()
    }
}

enum Next {
    Again,
    In(Duration),
    Never,
}

/// Resolves at an instant of the store's time. Dropping it takes the timer back.
pub(crate) struct Sleep {
    core: Arc<Core>,
    thread: Thread,
    at: Timestamp,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.core.now().is_some_and(|now| now >= self.at) {
            return Poll::Ready(());
        }
        let core = Arc::clone(&self.core);
        let mut timers = core.timers.lock();
        let id = *self.id.get_or_insert_with(|| {
            timers.count += 1;
            timers.count
        });
        timers.due.insert((self.at, id), context.waker().clone());
        let first = timers.due.keys().next() == Some(&(self.at, id));
        drop(timers);
        if first {
            self.thread.unpark();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.core.timers.lock().due.remove(&(self.at, id));
        }
    }
}
