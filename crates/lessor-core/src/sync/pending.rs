//! The answer of an operation: there already, or to come.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::{Condvar, Mutex};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer of an operation: `.await` it under any executor, or [`wait`](Self::wait) for it on a plain thread.
///
/// An operation begins when it is called, not when it is first polled. Dropping a `Pending` does not undo the
/// operation: it has happened, or will, or never happens, and the lease's state is one that the contract allows.
///
/// An answer that is there at once, as the in-memory store gives it, costs no allocation and no hand-off.
#[must_use = "the answer says whether the operation succeeded; `.await` it or `.wait()` for it"]
pub struct Pending<'a, T>(State<'a, T>);

enum State<'a, T> {
    Ready(T),
    Later(Boxed<'a, T>),
    Taken,
}

impl<'a, T> Pending<'a, T> {
    /// An answer that is there.
    #[inline]
    pub const fn ready(answer: T) -> Self {
        Self(State::Ready(answer))
    }

    /// An answer to come. The future may be polled by any executor, or by [`wait`](Self::wait).
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// The answer if it is there already, else the same `Pending`.
    #[inline]
    pub fn try_take(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(answer) => Ok(answer),
            later => Err(Self(later)),
        }
    }

    /// Turns the answer into another, at once if it is there.
    #[inline]
    pub fn map<U>(self, turn: impl FnOnce(T) -> U + Send + 'a) -> Pending<'a, U>
    where
        T: 'a,
    {
        match self.0 {
            State::Ready(answer) => Pending::ready(turn(answer)),
            State::Later(future) => Pending::later(async move { turn(future.await) }),
            State::Taken => Pending(State::Taken),
        }
    }

    /// Parks this thread until the answer is there. Never call it on a thread that drives other futures.
    #[inline]
    pub fn wait(self) -> T {
        match self.try_take() {
            Ok(answer) => answer,
            Err(later) => block_on(later),
        }
    }
}

thread_local! {
    /// The waker of the innermost [`block_on`] that this thread is in.
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// What this thread waits with, unless it is in use.
    static BELL: Cell<Option<(Arc<Bell>, Waker)>> = const { Cell::new(None) };
}

/// Wakes one waiting thread. It works on a thread that is being torn down as well, and within another wait.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&bell));
        (bell, waker)
    }

    fn wait(&self) {
        let mut has_rung = self.has_rung.lock();
        while !*has_rung {
            self.rings.wait(&mut has_rung);
        }
        *has_rung = false;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.has_rung.lock() = true;
        self.rings.notify_one();
    }
}

/// Parks this thread until `future` is ready.
///
/// The same as any executor's `block_on`, for a future that uses leases, and better on a thread that has nothing else to do: a store
/// may then block as in [`Pending::wait`], which spares it a hand-over to a thread of its own. Never call it on a thread that drives
/// other futures.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (bell, waker) = BELL.try_with(Cell::take).ok().flatten().unwrap_or_else(Bell::new);
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let answer = loop {
        // The mark is set around each poll. A thread that is being torn down has none, and a store does not block there.
        let outer = WAITING.try_with(|waiting| waiting.replace(Some(waker.clone()))).ok().flatten();
        let marked = Marked { outer };
        let polled = future.as_mut().poll(&mut context);
        drop(marked);
        match polled {
            Poll::Ready(answer) => break answer,
            Poll::Pending => bell.wait(),
        }
    };
    // An old waker that is still about makes the next wait look once too often at most.
    let _ = BELL.try_with(|kept| kept.set(Some((bell, waker))));
    answer
}

/// Restores the mark of the [`block_on`] outside of this one, also after a panic.
struct Marked {
    outer: Option<Waker>,
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = WAITING.try_with(|waiting| waiting.replace(self.outer.take()));
    }
}

/// Whether the thread that polls a store's reply has nothing else to do than to wait for it, as in [`Pending::wait`]. The
/// reply's future may then block, and so do itself what would otherwise have to be handed to another thread.
#[must_use]
pub fn may_block() -> bool {
    WAITING.try_with(|waiting| waiting.borrow().is_some()).unwrap_or(false)
}

/// Whether `waker` belongs to the [`block_on`] that this thread is in, so that invoking it runs no caller's code.
pub(crate) fn is_own_waker(waker: &Waker) -> bool {
    let is_own =
        |waiting: &RefCell<Option<Waker>>| waiting.borrow().as_ref().is_some_and(|own| own.will_wake(waker));
    WAITING.try_with(is_own).unwrap_or(false)
}

/// Unparks a thread of an engine. Unparking is remembered, so a wake-up between a poll and the park that follows is not lost.
pub(crate) struct Unpark(Thread);

impl Unpark {
    /// A waker that unparks the current thread.
    pub(crate) fn waker() -> Waker {
        Waker::from(Arc::new(Self(thread::current())))
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// No field is ever pinned in place: an answer is moved out, and the future is behind its own box.
impl<T> Unpin for Pending<'_, T> {}

impl<T> Future for Pending<'_, T> {
    type Output = T;

    /// Pends for ever if it is polled again after it answered; it does not panic.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            State::Later(future) => self.poll_later(future, context),
            State::Taken => Poll::Pending,
        }
    }
}

impl<'a, T> Pending<'a, T> {
    /// Polls the future. It is not polled again after a panic.
    #[inline(never)]
    fn poll_later(&mut self, mut future: Boxed<'a, T>, context: &mut Context<'_>) -> Poll<T> {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = State::Later(future);
        }
        polled
    }
}

impl<T> fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Pending(ready)",
            State::Later(_) => "Pending(later)",
            State::Taken => "Pending(taken)",
        })
    }
}
