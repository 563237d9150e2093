//! [`Pending`], the result of an operation, and blocking waits for it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::{Condvar, Mutex};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The result of an operation that may still be in progress. Async code awaits it under any
/// executor. Plain threads call [`wait`](Self::wait).
///
/// An operation begins when its method is called, not when the `Pending` is first polled. A result
/// that is available immediately, as with the in-memory store, costs neither an allocation nor a
/// thread switch.
///
/// # Cancellation safety
///
/// Dropping a `Pending` ends the wait but does not undo the operation. The store either performs
/// the whole operation or none of it. A lease that was granted to a dropped `Pending` is ended in
/// the background.
///
/// # Examples
///
/// ```
/// use lessor_core::Pending;
///
/// let answer = Pending::ready(20).map(|answer| answer + 1);
/// assert_eq!(answer.wait(), 21);
///
/// let answer = Pending::later(async { 21 });
/// assert_eq!(answer.wait(), 21);
/// ```
#[must_use = "the result shows whether the operation succeeded; `.await` it or `.wait()` for it"]
pub struct Pending<T>(State<T>);

enum State<T> {
    Ready(T),
    Later(Boxed<T>),
    Taken,
}

impl<T> Pending<T> {
    /// Returns a `Pending` that is ready.
    #[inline]
    pub const fn ready(answer: T) -> Self {
        Self(State::Ready(answer))
    }

    /// Returns a `Pending` that resolves with `future`, which any executor or [`wait`](Self::wait)
    /// may poll.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// Returns the result if it is available already.
    ///
    /// # Errors
    ///
    /// Returns the same `Pending` if the result is not available yet. The future is not polled.
    #[inline]
    pub fn try_take(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(answer) => Ok(answer),
            later => Err(Self(later)),
        }
    }

    /// Applies `f` to the result: immediately if it is available already.
    #[inline]
    pub fn map<U>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Pending<U>
    where
        T: 'static,
    {
        match self.0 {
            State::Ready(answer) => Pending::ready(f(answer)),
            State::Later(future) => Pending::later(async move { f(future.await) }),
            State::Taken => Pending(State::Taken),
        }
    }

    /// Blocks the current thread until the result is available, and returns it.
    ///
    /// Must not be called on a thread that drives other futures, such as a worker of an async
    /// runtime.
    #[inline]
    pub fn wait(self) -> T {
        match self.try_take() {
            Ok(answer) => answer,
            Err(later) => block_on(later),
        }
    }
}

thread_local! {
    /// The waker of the innermost [`block_on`] that is running on this thread.
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// The parker that this thread waits with. `None` while it is in use.
    static PARKER: Cell<Option<(Arc<Parker>, Waker)>> = const { Cell::new(None) };
}

/// Wakes one waiting thread. Unlike `std::thread::park`, it also works on a thread that is being
/// torn down, and nested in another wait.
#[derive(Default)]
struct Parker {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    fn new() -> (Arc<Self>, Waker) {
        let parker = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&parker));
        (parker, waker)
    }

    fn wait(&self) {
        let mut notified = self.notified.lock();
        while !*notified {
            self.condvar.wait(&mut notified);
        }
        *notified = false;
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.notified.lock() = true;
        self.condvar.notify_one();
    }
}

/// Runs a future to completion on the current thread, and returns its result.
///
/// Prefer it to an executor's `block_on` for futures that use leases: a store may then perform I/O
/// on this thread instead of handing it to another one.
///
/// Must not be called on a thread that drives other futures, such as a worker of an async runtime.
///
/// # Examples
///
/// ```
/// assert_eq!(lessor_core::block_on(async { 42 }), 42);
/// ```
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (parker, waker) = PARKER.try_with(Cell::take).ok().flatten().unwrap_or_else(Parker::new);
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let answer = loop {
        // The waker is registered around each poll. On a thread that is being torn down that is
        // impossible, and stores do not block there.
        let outer = WAITING.try_with(|waiting| waiting.replace(Some(waker.clone()))).ok().flatten();
        let guard = WaitingGuard { outer };
        let polled = future.as_mut().poll(&mut context);
        drop(guard);
        match polled {
            Poll::Ready(answer) => break answer,
            Poll::Pending => parker.wait(),
        }
    };
    // A clone of the waker that outlives this call can only cause one spurious poll in the next.
    let _ = PARKER.try_with(|kept| kept.set(Some((parker, waker))));
    answer
}

/// Restores the waker of the enclosing [`block_on`], also after a panic.
struct WaitingGuard {
    outer: Option<Waker>,
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        let _ = WAITING.try_with(|waiting| waiting.replace(self.outer.take()));
    }
}

/// Returns whether the current thread is inside [`Pending::wait`] or [`block_on`](crate::block_on).
///
/// A store's future may then perform blocking I/O in `poll` instead of handing it to another
/// thread.
#[must_use]
pub fn may_block() -> bool {
    WAITING.try_with(|waiting| waiting.borrow().is_some()).unwrap_or(false)
}

/// Returns whether `waker` belongs to the innermost [`block_on`] of this thread. Invoking such a
/// waker runs no caller's code.
pub(crate) fn is_own_waker(waker: &Waker) -> bool {
    let is_own =
        |waiting: &RefCell<Option<Waker>>| waiting.borrow().as_ref().is_some_and(|own| own.will_wake(waker));
    WAITING.try_with(is_own).unwrap_or(false)
}

/// A waker that unparks a thread of an engine. `unpark` leaves a token, so a wake-up between a poll
/// and the `park` that follows is not lost.
pub(crate) struct Unpark(Thread);

impl Unpark {
    /// Returns a waker that unparks the current thread.
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

/// No field is pinned in place: a result is moved out, and the future has its own box.
impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = T;

    /// Does not panic when polled after completion, but stays pending.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            State::Later(future) => self.poll_later(future, context),
            State::Taken => Poll::Pending,
        }
    }
}

impl<T> Pending<T> {
    /// Polls the future. It is not polled again after a panic.
    #[inline(never)]
    fn poll_later(&mut self, mut future: Boxed<T>, context: &mut Context<'_>) -> Poll<T> {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = State::Later(future);
        }
        polled
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Pending(ready)",
            State::Later(_) => "Pending(later)",
            State::Taken => "Pending(taken)",
        })
    }
}
