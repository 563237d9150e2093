//! Bounds what calls that are under way take.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lessor_core::StoreError;

/// How many bytes all calls that are under way may take together.
const MOST: usize = 64 << 20;
/// What a call takes beside its records: its future, its request, and its place in the queue.
const CALL: usize = 1 << 10;

#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// What one call takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Room for a call with records of so many bytes. A single call always has room.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, StoreError> {
        let charge = Charge { budget: Arc::clone(self), bytes: bytes.saturating_add(CALL) };
        let before = self.0.fetch_add(charge.bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(charge.bytes) > MOST {
            let reason = format!(
                "calls that are under way take {} MiB already, which is the most; the server answers too slowly, or too much is \
                 asked at once",
                MOST >> 20
            );
            return Err(StoreError::Unavailable { reason });
        }
        Ok(charge)
    }
}

impl Charge {
    /// Does `call`, and lets go of the room when that ends or is dropped.
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
    fn calls_have_room_up_to_a_limit_and_again_once_others_have_ended() {
        let budget = Arc::new(Budget::default());
        let large = budget.charge(2 * MOST).unwrap();
        assert!(matches!(budget.charge(0), Err(StoreError::Unavailable { .. })));
        drop(large);
        let mut charges: Vec<Charge> = (0..MOST / CALL).map(|_| budget.charge(0).unwrap()).collect();
        assert!(budget.charge(0).is_err() && budget.charge(1 << 20).is_err());
        charges.truncate(charges.len() / 2);
        charges.push(budget.charge(MOST / 2 - CALL).unwrap());
        assert!(budget.charge(0).is_err());
        drop(charges);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
