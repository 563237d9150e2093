//! Purging: drops records whose retention has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::StoreError;
use lessor_core::store::Purged;

use super::key_walk::NAMES_PER_STEP;
use super::purge_pass::PurgePass;
use super::shared::Shared;

/// The number of steps that one call makes at least, if there are so many.
const STEPS_PER_CALL: usize = 4;

impl Shared {
    /// Drops records earlier than the server would by itself, which it does
    /// [`EXPIRY_MARGIN`](crate::protocol::arrival::EXPIRY_MARGIN) later.
    ///
    /// Does nothing while no record is due that this store has written or read. Continues where the
    /// call before stopped. Stops after dropping `limit` records, or after visiting about `limit`
    /// names, but at least some thousands.
    pub(super) async fn purge(self: Arc<Self>, limit: usize) -> Result<Purged, StoreError> {
        let manager = &self.manager;
        let begun = self.purging.lock().take();
        if begun.is_none() {
            // A write made meanwhile lowers the time again.
            let due = self.next_purge.swap(u64::MAX, Ordering::Relaxed);
            if manager.context.clock.now().as_micros() < due {
                self.next_purge.fetch_min(due, Ordering::Relaxed);
                return Ok(Purged::default());
            }
        }
        // A call that fails or is dropped leaves the pass to the next call, which begins at once.
        let mut next_purge = NextPurge { shared: &self.next_purge, at: 0 };
        let mut pass = match begun {
            Some(pass) => pass,
            None => PurgePass::begin(manager, &self.prefix).await?,
        };
        let mut dropped = 0;
        for _ in 0..STEPS_PER_CALL.max(limit / NAMES_PER_STEP) {
            dropped += pass.drop_due(manager, limit - dropped).await?;
            if dropped == limit {
                break;
            }
            if !pass.step(manager).await? {
                next_purge.at = pass.next();
                return Ok(Purged::new(dropped, false));
            }
        }
        *self.purging.lock() = Some(pass);
        Ok(Purged::new(dropped, true))
    }
}

/// Lowers the time of the next purge to `at` when it is dropped; in µs.
struct NextPurge<'a> {
    shared: &'a AtomicU64,
    at: u64,
}

impl Drop for NextPurge<'_> {
    fn drop(&mut self) {
        self.shared.fetch_min(self.at, Ordering::Relaxed);
    }
}
