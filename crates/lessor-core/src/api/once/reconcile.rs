//! Finds out whether an earlier holder did the work before its lease lapsed.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use crate::api::lease::Lease;

/// The finding of a caller about the work of an earlier holder. See
/// [`Once::reconcile`](crate::Once::reconcile).
///
/// `Debug` does not show the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reconciled<T> {
    /// The work was done, with this result. It is stored as the outcome, and the work does not run.
    Done(T),
    /// The work was not done. It runs now.
    NotDone,
    /// It cannot be known. The key is left in doubt, and the next caller with a function looks
    /// again.
    Unknown,
}

pub(super) type Look<T> =
    Box<dyn FnMut(Arc<Lease>) -> Pin<Box<dyn Future<Output = Reconciled<T>> + Send>> + Send>;

pub(super) fn from_fn<T: Send + 'static>(
    mut look: impl FnMut(&Lease) -> Reconciled<T> + Send + 'static,
) -> Look<T> {
    Box::new(move |lease| Box::pin(ready(look(&lease))))
}

pub(super) fn from_async_fn<T, F, Fut>(mut look: F) -> Look<T>
where
    F: FnMut(Arc<Lease>) -> Fut + Send + 'static,
    Fut: Future<Output = Reconciled<T>> + Send + 'static,
{
    Box::new(move |lease| Box::pin(look(lease)))
}

impl<T> fmt::Debug for Reconciled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done(..)",
            Self::NotDone => "NotDone",
            Self::Unknown => "Unknown",
        })
    }
}
