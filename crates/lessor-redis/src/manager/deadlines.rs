//! Deadlines of calls: one timer for all of them, on the store's thread, whichever executor the
//! callers use.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lessor_core::store::{CallerWaker, Notifier};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The time by which a call may exceed its deadline.
const TICK: Duration = Duration::from_millis(10);

/// The waiting calls and their deadlines, in µs of this machine's time.
#[derive(Debug)]
pub(crate) struct Deadlines {
    notifier: Notifier,
    list: Mutex<List>,
    /// Notified when the list is no longer empty.
    first: Notify,
}

#[derive(Debug, Default)]
struct List {
    /// Vacant entries are reused.
    waiting: Vec<Option<(u64, Option<CallerWaker>)>>,
    free: Vec<usize>,
}

impl List {
    fn is_empty(&self) -> bool {
        self.waiting.len() == self.free.len()
    }
}

impl Deadlines {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self { notifier, list: Mutex::default(), first: Notify::new() }
    }

    /// Wakes the calls whose deadlines have passed, until it is dropped.
    pub(crate) async fn watch(&self, now: impl Fn() -> u64) {
        loop {
            if self.list.lock().is_empty() {
                self.first.notified().await;
            }
            tokio::time::sleep(TICK).await;
            let now = now();
            // Each call is woken once, even if it is not polled afterwards.
            let expired =
                |(at, waker): &mut (u64, Option<CallerWaker>)| if *at <= now { waker.take() } else { None };
            let wakers: Vec<CallerWaker> =
                self.list.lock().waiting.iter_mut().flatten().filter_map(expired).collect();
            self.notifier.wake(wakers);
        }
    }
}

/// A future that is ready at a time of this machine.
#[derive(Debug)]
pub(crate) struct Expiry<'a, F> {
    deadlines: &'a Deadlines,
    now: F,
    at: u64,
    index: Option<usize>,
}

impl<'a, F: Fn() -> u64> Expiry<'a, F> {
    pub(crate) fn new(deadlines: &'a Deadlines, now: F, at: u64) -> Self {
        Self { deadlines, now, at, index: None }
    }
}

impl<F: Fn() -> u64 + Unpin> Future for Expiry<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if (self.now)() >= self.at {
            return Poll::Ready(());
        }
        let waiter = Some((self.at, Some(CallerWaker::of(context))));
        let mut list = self.deadlines.list.lock();
        let was_empty = list.is_empty();
        let index = match self.index.or_else(|| list.free.pop()) {
            Some(index) => index,
            None => {
                list.waiting.push(None);
                list.waiting.len() - 1
            }
        };
        let previous = list.waiting.get_mut(index).and_then(|entry| std::mem::replace(entry, waiter));
        drop(list);
        if was_empty {
            self.deadlines.first.notify_one();
        }
        self.index = Some(index);
        // Dropping a waker may run code of the application, so it is dropped without the lock.
        drop(previous);
        Poll::Pending
    }
}

impl<F> Drop for Expiry<'_, F> {
    fn drop(&mut self) {
        let Some(index) = self.index else { return };
        let mut list = self.deadlines.list.lock();
        let previous = list.waiting.get_mut(index).and_then(Option::take);
        list.free.push(index);
        drop(list);
        drop(previous);
    }
}
