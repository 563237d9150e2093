//! A limit on the memory of all calls in progress.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lessor_core::StoreError;

/// The maximum number of bytes of all calls together.
const MAX_BYTES: usize = 64 << 20;
/// The memory of a call besides its records: its future, its request and its queue entry.
const CALL_OVERHEAD: usize = 1 << 10;

#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// The memory of one call, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Reserves memory for a call whose records take `bytes` bytes. A call that is the only one is
    /// always admitted.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, StoreError> {
        let charge = Charge { budget: Arc::clone(self), bytes: bytes.saturating_add(CALL_OVERHEAD) };
        let before = self.0.fetch_add(charge.bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(charge.bytes) > MAX_BYTES {
            let reason = format!(
                "calls in progress take {} MiB already, which is the limit; the server replies too slowly, or too \
                 many calls are made at once",
                MAX_BYTES >> 20
            );
            return Err(StoreError::unavailable(reason));
        }
        Ok(charge)
    }
}

impl Charge {
    /// Runs `call`. The memory is released when the call ends or is dropped.
    pub(crate) async fn during<T>(self, call: impl Future<Output = T>) -> T {
        let _charge = self;
        call.await
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn calls_are_admitted_up_to_a_limit_and_again_after_others_have_ended() {
        let budget = Arc::new(Budget::default());
        let large = budget.charge(2 * MAX_BYTES).unwrap();
        assert!(matches!(budget.charge(0), Err(StoreError::Unavailable(_))));
        drop(large);
        let mut charges: Vec<Charge> =
            (0..MAX_BYTES / CALL_OVERHEAD).map(|_| budget.charge(0).unwrap()).collect();
        assert!(budget.charge(0).is_err() && budget.charge(1 << 20).is_err());
        charges.truncate(charges.len() / 2);
        charges.push(budget.charge(MAX_BYTES / 2 - CALL_OVERHEAD).unwrap());
        assert!(budget.charge(0).is_err());
        drop(charges);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
