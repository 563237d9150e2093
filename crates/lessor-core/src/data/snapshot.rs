//! The result of reading a record.

use super::record::Record;
use super::time::Timestamp;

/// A record, and the time at which it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The record, or `None` if there is none.
    pub record: Option<Record>,
    /// The time of the store's clock when the record was read. In a
    /// [`CasResult::Conflict`](crate::store::CasResult::Conflict) it may be ahead of the clock, as
    /// the result of [`Store::now`](crate::Store::now) may be.
    pub now: Timestamp,
}

impl Snapshot {
    /// Returns a snapshot of `record` at `now`.
    #[must_use]
    pub fn new(record: Option<Record>, now: Timestamp) -> Self {
        Self { record, now }
    }
}
