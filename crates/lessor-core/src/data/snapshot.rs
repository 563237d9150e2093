//! What a store reads.

use super::record::Record;
use super::time::Timestamp;

/// A record, and the time at which it was read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The record, or `None` if there is none.
    pub record: Option<Record>,
    /// The store's clock when the record was read. In a [`CasResult::Conflict`](crate::store::CasResult::Conflict) it may run ahead, like
    /// [`Store::now`](crate::Store::now); otherwise it is the clock itself.
    pub now: Timestamp,
}
