//! The properties that a server reports about itself.

/// The properties of a server, from its replies to `INFO` and `CONFIG GET`.
///
/// Returned by [`RedisStore::server`](crate::RedisStore::server).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The version, such as `7.2.4`. Valkey reports the Redis version that it is compatible with.
    pub version: String,
    /// The run id, which is drawn anew at each start of the server.
    pub run_id: String,
    /// True if the server writes an append-only file.
    pub appendonly: bool,
    /// The fsync policy of that file: `always`, `everysec` or `no`. `None` if the user may not run
    /// `CONFIG GET`.
    pub appendfsync: Option<String>,
    /// True if `maxmemory` is set.
    pub has_memory_limit: bool,
    /// The eviction policy, such as `noeviction`.
    pub maxmemory_policy: String,
    /// The replication role: `master` or `slave`.
    pub role: String,
}
