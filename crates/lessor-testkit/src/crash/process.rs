//! One simulated process. Its thread stops at each step, until the scenario tells it how to go on.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use lessor_core::store::{Execution, Operation, Reply, Snapshot};
use lessor_core::{Key, Pending, Store, StoreError};
use parking_lot::{Condvar, Mutex};

use crate::crash::step::Step;
use crate::layer::Layer;

#[derive(Debug)]
pub(crate) struct Process {
    number: usize,
    thread: Mutex<Option<ThreadId>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Killed: nothing that it still does reaches the store or the sink.
    is_dead: AtomicBool,
    /// Suspended: its background threads do not reach the store.
    is_suspended: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    at: Option<Step>,
    order: Option<Order>,
    end: Option<End>,
}

/// How a process goes on from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Go,
    LoseRequest,
    LoseReply,
    Die,
}

/// How the function under test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned,
    Failed(String),
    Killed,
}

/// The next action of a process.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It is about to take a step.
    At(Step),
    Ended(End),
    /// It does neither for some time, because it waits for another process or for time to pass.
    Waits,
}

/// The effect of a fault on a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Taken,
    LostRequest,
    LostReply,
    /// The process is dead or suspended.
    Refused,
}

/// The payload with which the thread of a killed process unwinds.
pub(crate) struct Killed;

impl Process {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            thread: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_dead: AtomicBool::new(false),
            is_suspended: AtomicBool::new(false),
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Makes the current thread the one whose calls are steps.
    pub(crate) fn begin(&self) {
        *self.thread.lock() = Some(thread::current().id());
    }

    pub(crate) fn end(&self, end: End) {
        self.state.lock().end = Some(end);
        self.changed.notify_all();
    }

    /// Waits until the scenario orders how to take the step. A call of another thread is no step.
    pub(crate) fn step(&self, step: Step) -> Passage {
        let is_own = *self.thread.lock() == Some(thread::current().id());
        // A background thread ends dropped leases at some moment. They lapse anyway before the next
        // call, and a scenario must not depend on that moment.
        let is_refused = !is_own && (self.is_suspended.load(Ordering::SeqCst) || step == Step::ABANDON);
        if self.is_dead() || is_refused {
            return Passage::Refused;
        }
        if !is_own {
            return Passage::Taken;
        }
        let mut state = self.state.lock();
        state.at = Some(step);
        self.changed.notify_all();
        let order = loop {
            match state.order.take() {
                Some(order) => break order,
                None => self.changed.wait(&mut state),
            }
        };
        drop(state);
        match order {
            Order::Go => Passage::Taken,
            Order::LoseRequest => Passage::LostRequest,
            Order::LoseReply => Passage::LostReply,
            Order::Die => self.die(),
        }
    }

    /// The destructors run, but neither the store nor the sink hears of them.
    fn die(&self) -> Passage {
        self.is_dead.store(true, Ordering::SeqCst);
        match thread::panicking() {
            // A second panic would abort the tests.
            true => Passage::Refused,
            false => resume_unwind(Box::new(Killed)),
        }
    }

    /// Returns what the process does next. Waits for at most `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Event {
        let mut state = self.state.lock();
        loop {
            if let Some(end) = state.end.clone() {
                return Event::Ended(end);
            }
            if let Some(step) = state.at.clone() {
                return Event::At(step);
            }
            if self.changed.wait_for(&mut state, patience).timed_out()
                && state.at.is_none()
                && state.end.is_none()
            {
                return Event::Waits;
            }
        }
    }

    /// Lets the process take the step that it has come to.
    pub(crate) fn go(&self, order: Order) {
        let mut state = self.state.lock();
        state.at = None;
        state.order = Some(order);
        self.changed.notify_all();
    }

    pub(crate) fn suspend(&self, is_suspended: bool) {
        self.is_suspended.store(is_suspended, Ordering::SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }
}

/// The store as one process reaches it.
pub(crate) struct ProcessStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) process: Arc<Process>,
}

impl Layer for ProcessStore {
    fn below(&self) -> &dyn Store {
        &*self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        match self.process.step(Step::Reading) {
            Passage::Taken => self.inner.load(key),
            Passage::LostRequest | Passage::LostReply => {
                Pending::ready(Err(StoreError::unavailable("the simulated reply is lost")))
            }
            Passage::Refused => Pending::ready(Err(self.refusal())),
        }
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        const LOST: &str = "the simulated reply is lost";
        match self.process.step(Step::Operation(operation.name())) {
            Passage::Taken => self.inner.execute(operation),
            Passage::LostRequest => Execution::failed(StoreError::indeterminate(LOST)),
            Passage::LostReply => {
                let _lost = operation.to_owned().send(&*self.inner).wait();
                Execution::failed(StoreError::indeterminate(LOST))
            }
            Passage::Refused => Execution::failed(self.refusal()),
        }
    }
}

impl ProcessStore {
    /// A dead process must not wait and try again.
    fn refusal(&self) -> StoreError {
        match self.process.is_dead() {
            true => StoreError::misconfigured("the simulated process was killed"),
            false => StoreError::unavailable("the simulated process is suspended"),
        }
    }
}
