//! The intervals at which connections are retried and servers are queried.

use std::time::Duration;

/// The first and the longest delay between two attempts to connect.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// The interval at which the server's clock is sampled.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// The number of samples between two checks that the server is still suitable.
pub(crate) const CHECK_EVERY: u32 = 2;
