//! The primitives of the model checker, with the names that the library uses.

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering, fence};

/// All keys share one slot, which keeps the model small.
pub(crate) const PRESENCE_SLOTS: usize = 1;

/// A mutex with the interface of `parking_lot`'s, which has no poisoning.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    #[expect(clippy::unwrap_used, reason = "the model fails on a panic anyway")]
    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}
