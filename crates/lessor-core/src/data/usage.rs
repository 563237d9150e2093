//! [`Usage`], the counted grants of a namespace.

use serde::Serialize;

use crate::data::month::Month;
use crate::data::time::Timestamp;

/// The counted grants of a namespace, returned by [`Engine::usage`](crate::Engine::usage).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, Quota};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let tenant = engine.namespace("tenant-7").quota(Quota::monthly(3000)).open()?;
/// let _lease = tenant.acquire("invoice:1").wait()?;
/// let usage = tenant.usage().wait()?;
/// assert_eq!((usage.used(), usage.limit(), usage.left()), (1, Some(3000), Some(2999)));
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    month: Month,
    used: u64,
    limit: Option<u64>,
    earlier: Vec<(Month, u64)>,
}

impl Usage {
    pub(crate) fn new(month: Month, used: u64, limit: Option<u64>) -> Self {
        Self { month, used, limit, earlier: Vec::new() }
    }

    pub(crate) fn with_earlier(self, earlier: Vec<(Month, u64)>) -> Self {
        Self { earlier, ..self }
    }

    /// Returns the month, in UTC, by the store's clock.
    #[must_use]
    pub fn month(&self) -> Month {
        self.month
    }

    /// Returns the number of grants that were charged in the month. It is never less than the number
    /// of grants. It can be higher: a crash loses the units that the process had reserved, and other
    /// processes may hold reserved units.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Returns the maximum number of grants per month, or `None` if there is none.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Returns the number of grants that are left, or `None` without a limit.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }

    /// Returns the time at which the next month begins, in the store's time.
    #[must_use]
    pub fn resets_at(&self) -> Timestamp {
        self.month.next().start()
    }

    /// Returns the charged grants of earlier months, the latest first. A month without grants is
    /// left out, and so are those that are longer ago than a year.
    #[must_use]
    pub fn earlier(&self) -> &[(Month, u64)] {
        &self.earlier
    }
}
