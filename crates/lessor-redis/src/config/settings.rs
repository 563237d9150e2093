//! Settings of a store.

use std::time::Duration;

use lessor_core::Error;
use serde::{Deserialize, Serialize};

use super::prefix::Prefix;

/// The settings of a Redis store.
///
/// Every field can be set in code. All but `deadline` can also be set in the URL.
///
/// # Examples
/// ```
/// use lessor_redis::{Check, Settings};
///
/// let settings = Settings::new().prefix("my-app").persistence(Check::Require);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The prefix of all record names, so that several applications can share a server: 1 to 64
    /// ASCII letters, digits, `-`, `_` or `.`. The default is `lessor`.
    pub prefix: String,
    /// The time after which an operation returns an error if the server does not reply, from 10 ms
    /// to 1 min. An operation may need two requests, a write and a read that finds out whether the
    /// write took effect. Each of the two may take half of this time. The default is 5 s.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The check that the server writes an append-only file and syncs it at each write (`appendonly
    /// yes`, `appendfsync always`). Otherwise a crash of the server loses acknowledged leases and
    /// results. The default is [`Check::Warn`].
    pub persistence: Check,
    /// The check that the server never evicts records (`maxmemory-policy noeviction`, or no
    /// `maxmemory`). The work of an evicted record runs again. The default is [`Check::Require`].
    pub eviction: Check,
    /// The check that the server is a master, and not a replica. The default is [`Check::Require`].
    pub role: Check,
}

/// The reaction to a server whose configuration does not meet a requirement. The store checks the
/// server after each connect, and every few seconds from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Check {
    /// Do not use the server. Opening a store and all calls fail with
    /// [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured) until the
    /// configuration is changed. If the server is a replica, they fail with
    /// [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable), because a failover may be
    /// in progress.
    Require,
    /// Log a warning and use the server.
    Warn,
    /// Do not check.
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

/// Defines the setters.
macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {
        impl Settings {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

setters! {
    deadline: Duration,
    persistence: Check,
    eviction: Check,
    role: Check,
}

impl Settings {
    /// Returns the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`prefix`](field@Self::prefix).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    pub(crate) fn validate(&self) -> Result<Prefix, Error> {
        let range = Duration::from_millis(10)..=Duration::from_secs(60);
        if !range.contains(&self.deadline) {
            let reason = format!("it must be from 10 ms to 1 min, not {:?}", self.deadline);
            return Err(Error::invalid("deadline", reason));
        }
        Prefix::new(&self.prefix)
    }
}
