//! What can be set.

use std::time::Duration;

use lessor_core::Error;
use serde::{Deserialize, Serialize};

use crate::names::Prefix;

/// How a store uses its server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Begins the name of every record, so that several applications can share a server: 1 to 64 letters, digits, `-`, `_`
    /// or `.`. Default `lessor`.
    pub prefix: String,
    /// When an operation ends at the latest, with an answer or an error, if the server does not answer. It may take two requests, a write and a look
    /// what became of it, and each has half of this. From 10 ms to 1 min, default 5 s.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// That the server writes an append-only file and syncs it for each write, without which its crash takes acknowledged leases
    /// and results with it. Default [`Check::Warn`].
    pub persistence: Check,
    /// That the server never evicts (`maxmemory-policy noeviction`, or no `maxmemory`): an evicted record is work that runs again.
    /// Default [`Check::Require`].
    pub eviction: Check,
    /// That the server is a master. Default [`Check::Require`].
    pub role: Check,
}

/// What to do about a server that is not set up as it should be. It is looked at whenever a connection was made, and every few seconds from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Do not use it: nothing can be opened, and calls are answered with
    /// [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured) until it is set right; or with
    /// [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable) by a replica, since a fail-over may be under way.
    Require,
    /// Log a warning.
    Warn,
    /// Do not look.
    Ignore,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "lessor".to_owned(),
            deadline: Duration::from_secs(5),
            persistence: Check::Warn,
            eviction: Check::Require,
            role: Check::Require,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<Prefix, Error> {
        let range = Duration::from_millis(10)..=Duration::from_secs(60);
        if !range.contains(&self.deadline) {
            let reason = format!("it has to be from 10 ms to 1 min, not {:?}", self.deadline);
            return Err(Error::Invalid { what: "deadline", reason });
        }
        Prefix::new(&self.prefix)
    }
}
