//! Ends calls that take too long, without a timer for each and without any particular executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lessor_core::store::{CallerWaker, Notifier};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How late a call may be ended.
const TICK: Duration = Duration::from_millis(10);

/// Those who wait, each until a time of this machine in µs.
#[derive(Debug)]
pub(crate) struct Deadlines {
    notifier: Notifier,
    list: Mutex<List>,
    /// Somebody waits, where nobody did.
    first: Notify,
}

#[derive(Debug, Default)]
struct List {
    /// Places are used again.
    waiting: Vec<Option<(u64, Option<CallerWaker>)>>,
    free: Vec<usize>,
}

impl List {
    fn is_empty(&self) -> bool {
        self.waiting.len() == self.free.len()
    }
}

impl Deadlines {
    /// Nobody waits.
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self { notifier, list: Mutex::default(), first: Notify::new() }
    }

    /// Wakes those whose time is over, again and again.
    pub(crate) async fn watch(&self, now: impl Fn() -> u64) {
        loop {
            if self.list.lock().is_empty() {
                self.first.notified().await;
            }
            tokio::time::sleep(TICK).await;
            let now = now();
            // Each is woken once, also if it is not polled after that.
            let over =
                |(at, waker): &mut (u64, Option<CallerWaker>)| if *at <= now { waker.take() } else { None };
            let woken: Vec<CallerWaker> =
                self.list.lock().waiting.iter_mut().flatten().filter_map(over).collect();
            self.notifier.wake(woken);
        }
    }
}

/// Resolves at a time of this machine.
#[derive(Debug)]
pub(crate) struct Expiry<'a, F> {
    deadlines: &'a Deadlines,
    now: F,
    at: u64,
    place: Option<usize>,
}

impl<'a, F: Fn() -> u64> Expiry<'a, F> {
    pub(crate) fn new(deadlines: &'a Deadlines, now: F, at: u64) -> Self {
        Self { deadlines, now, at, place: None }
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
        let place = match self.place.or_else(|| list.free.pop()) {
            Some(place) => place,
            None => {
                list.waiting.push(None);
                list.waiting.len() - 1
            }
        };
        let former = list.waiting.get_mut(place).and_then(|there| std::mem::replace(there, waiter));
        drop(list);
        if was_empty {
            self.deadlines.first.notify_one();
        }
        self.place = Some(place);
        // A waker may do anything when it is dropped, so not under the lock.
        drop(former);
        Poll::Pending
    }
}

impl<F> Drop for Expiry<'_, F> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut list = self.deadlines.list.lock();
        let former = list.waiting.get_mut(place).and_then(Option::take);
        list.free.push(place);
        drop(list);
        drop(former);
    }
}
