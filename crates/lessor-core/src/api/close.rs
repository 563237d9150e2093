//! Closing an engine: the one call for the end of a process.

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
use crate::run::context::Shared;
use crate::store::closing::{CloseStep, CloseWatch, Closed, Closing, Report};
use crate::sync::pending::Pending;

impl Engine {
    /// Closes the engine and its store, within `within` of the store's time.
    ///
    /// - From the call on no lease is granted. Holders can still extend, complete and fail theirs until the store is closed.
    /// - Leases that were dropped are given up at the store. They would otherwise only lapse with their ttl.
    /// - The store finishes what is under way, does its housekeeping, and releases what it holds. The folder of a file
    ///   log can be opened again as soon as the answer says [`Closed::released`].
    ///
    /// When the time is short, housekeeping such as the compaction of a file log is stopped: nothing is lost by that, and the
    /// answer says so. Leases that are still held lapse with their ttl, and whoever holds one gets errors of the store from then on.
    ///
    /// The store is closed for every engine over it. An engine can be closed again, for instance with more time.
    pub fn close(&self, within: Duration) -> Close {
        self.shared.closed.store(true, Ordering::SeqCst);
        let report = Report::default();
        let pending = Pending::later(close(Arc::clone(&self.shared), within, report.clone()));
        Close { pending, report }
    }
}

async fn close(shared: Arc<Shared>, within: Duration, report: Report) -> Result<Closed, Error> {
    let now = shared.clock.now();
    let until = now.saturating_add(within);
    // A part of the time is left for the store, which may have more to lose than a lease that lapses late.
    let leases_until = now.saturating_add(within - within / 4);
    let late = |until| {
        let timeout = shared.background.leases.sleep_until(until);
        async move {
            timeout.await;
        }
    };
    let drained = async {
        shared.abandoned.drain().await;
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

/// The closing of an engine. Await it, or [`wait`](Self::wait) for it.
///
/// Dropping it stops the closing where it is: what was not done yet is left, and [`Engine::close`] can be called again.
#[must_use = "the engine is closed by awaiting this or by `.wait()`"]
pub struct Close {
    pending: Pending<'static, Result<Closed, Error>>,
    report: Report,
}

impl Close {
    /// Blocks until the engine is closed or the time is over.
    ///
    /// Fails if the store could not be left in order; what was acknowledged is safe.
    pub fn wait(self) -> Result<Closed, Error> {
        self.pending.wait()
    }

    /// A view of how far the closing is, for another thread or task to look at.
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
