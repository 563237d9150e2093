//! The answer of an operation: there already, or to come.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

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
    /// How many [`block_on`]s this thread is in.
    static WAITING: Cell<u32> = const { Cell::new(0) };
}

/// Parks this thread until `future` is ready.
///
/// The same as any executor's `block_on`, for a future that uses leases, and better on a thread that has nothing else to do: a store
/// may then block as in [`Pending::wait`], which spares it a hand-over to a thread of its own. Never call it on a thread that drives
/// other futures.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Waiting;
    impl Drop for Waiting {
        fn drop(&mut self) {
            WAITING.set(WAITING.get().saturating_sub(1));
        }
    }
    WAITING.set(WAITING.get().saturating_add(1));
    let _waiting = Waiting;
    futures_lite::future::block_on(future)
}

/// Whether the thread that polls a store's reply has nothing else to do than to wait for it, as in [`Pending::wait`]. The
/// reply's future may then block, and so do itself what would otherwise have to be handed to another thread.
#[must_use]
pub fn may_block() -> bool {
    WAITING.get() > 0
}

/// No field is ever pinned in place: an answer is moved out, and the future is behind its own box.
impl<T> Unpin for Pending<'_, T> {}

impl<T> Future for Pending<'_, T> {
    type Output = T;

    /// Pends for ever if it is polled again after it answered; it does not panic.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            State::Later(mut future) => {
                let polled = future.as_mut().poll(context);
                if polled.is_pending() {
                    self.0 = State::Later(future);
                }
                polled
            }
            State::Taken => Poll::Pending,
        }
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
