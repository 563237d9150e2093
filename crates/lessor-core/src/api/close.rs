//! [`Engine::close`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future;

use crate::api::engine::Engine;
use crate::data::error::Error;
use crate::run::charged::give_back;
use crate::run::context::Handle;
use crate::store::closing::{CloseStep, CloseWatch, Closed, Closing, Report};
use crate::sync::pending::Pending;

impl Engine {
    /// Closes the engine and its store within a time limit, measured by the store's clock.
    ///
    /// - After the call, no lease is granted. Holders can extend, complete and fail their leases
    ///   until the store is closed.
    /// - Dropped leases are abandoned at the store. Otherwise they would lapse only at the end of
    ///   their ttl.
    /// - Units of [quotas](crate::Quota) that were charged and not used are given back.
    /// - The store completes the operations in progress, does its housekeeping, and releases its
    ///   resources. The folder of a file store can be opened again as soon as the result has
    ///   [`Closed::released`].
    ///
    /// If time is short, housekeeping such as the compaction of a file store is stopped. No data is
    /// lost, and [`Closed::tidied`] is false. Leases that are still held lapse at the end of their
    /// ttl, and their holders get errors of the store.
    ///
    /// The store is closed for all engines over it. `close` can be called again, for instance with
    /// more time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use lessor_core::Engine;
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let closed = engine.close(Duration::from_secs(10)).wait()?;
    /// assert!(closed.is_complete());
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn close(&self, within: Duration) -> Close {
        self.shared.closed.store(true, Ordering::SeqCst);
        let report = Report::default();
        let pending = Pending::later(close(Arc::clone(self.handle()), within, report.clone()));
        Close { pending, report }
    }
}

async fn close(shared: Arc<Handle>, within: Duration, report: Report) -> Result<Closed, Error> {
    let now = shared.clock.now();
    let until = now.saturating_add(within);
    // A quarter of the time is reserved for the store. A lease that is not abandoned only lapses
    // late.
    let leases_until = now.saturating_add(within - within / 4);
    let late = |until| {
        let timeout = shared.background.leases.sleep_until(until);
        async move {
            timeout.await;
        }
    };
    let drained = async {
        shared.abandoned.drain().await;
        give_back(&shared).await;
        true
    };
    let timed_out = async {
        late(leases_until).await;
        false
    };
    let gave_up = future::or(drained, timed_out).await;
    report.begin(CloseStep::Store);
    let closing = shared.store.close(&Closing { until, report: report.clone() });
    let closing = async { Some(closing.await) };
    let timed_out = async {
        late(until).await;
        None
    };
    let closed = match future::or(closing, timed_out).await {
        None => return Ok(Closed { gave_up, released: false, tidied: false }),
        Some(tidied) => Closed { gave_up, released: true, tidied: tidied? },
    };
    report.begin(CloseStep::Over);
    Ok(closed)
}

/// The closing of an engine, returned by [`Engine::close`]. Async code awaits it. Plain threads
/// call [`wait`](Self::wait).
///
/// Dropping it stops the closing. The remaining steps are not performed, and [`Engine::close`] can
/// be called again.
#[must_use = "the engine is closed by awaiting this or by `.wait()`"]
pub struct Close {
    pending: Pending<Result<Closed, Error>>,
    report: Report,
}

impl Close {
    /// Blocks the current thread until the engine is closed or the time limit has passed.
    ///
    /// # Errors
    ///
    /// An error of the store if it could not be closed properly. Acknowledged writes are not lost.
    pub fn wait(self) -> Result<Closed, Error> {
        self.pending.wait()
    }

    /// Returns an observer of the progress, for another thread or task.
    #[must_use]
    pub fn progress(&self) -> CloseWatch {
        CloseWatch(self.report.clone())
    }
}

impl Future for Close {
    type Output = Result<Closed, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.pending).poll(context)
    }
}

impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Close").field("progress", &self.report.get()).finish_non_exhaustive()
    }
}
