//! The Redis store of *lessor*: leases that many processes and machines share.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use lessor_core::Engine;
//! use lessor_redis::RedisStore;
//!
//! let engine = Engine::new(Arc::new(RedisStore::open("redis://127.0.0.1/0?prefix=my-app")?))?;
//! let outcome = engine.once("invoice:42").run(|_lease| Ok::<_, String>("receipt 1".to_owned()))?;
//! assert_eq!(outcome.into_value(), "receipt 1");
//! # Ok(())
//! # }
//! ```
//!
//! The store needs Redis 7.0 or later, or Valkey. Every change is tested with Redis 7.0. All tests
//! also passed with Valkey 8.1, in a manual run.
//!
//! The store runs one background thread and needs no async runtime. All callers share one pipelined
//! connection, from plain threads and under any executor. A single blocking caller performs its own
//! socket I/O, without the background thread. A single async caller under Tokio does so too if the
//! store knows its runtime; see [`Builder::runtime`].
//!
//! # Guarantees
//! A reply means that the server has executed the command. The server's configuration decides what
//! survives after that. With `appendonly yes` and `appendfsync always`, acknowledged writes survive
//! a crash of the server. With less, they may not even survive its restart.
//! [`field@Settings::persistence`] selects the reaction to a server that is configured for less.
//!
//! **A failover can lose acknowledged writes**, because Redis replicates asynchronously. A lease
//! that is lost in this way is granted again while its first holder still works. A result that is
//! lost is computed again. Fencing tokens keep rising even then, as long as the servers' clocks
//! agree, because tokens are made from the server's time. The remedy is a sink that rejects stale
//! tokens.
//!
//! All processes that share a prefix use the server's clock. Moving that clock forward makes leases
//! expire early. Moving it back makes them last longer.
//!
//! The expiry time of a record shows when the record arrived at the server, and so whether it
//! counts. Do not change expiry times by hand. If the server's clock is moved by more than five
//! minutes at the moment at which a lease is granted, that lease may be lost.
//!
//! Each key of a cluster uses the clock of the node that owns it, so the nodes' clocks have to
//! agree, as they do with NTP. The lease of a key that migrates to a node whose clock is ahead
//! expires earlier by the difference.
//!
//! # Errors
//! A request that receives no reply within half of [`field@Settings::deadline`] fails. The other
//! half is left for the engine to find out whether the write took effect.
//!
//! - [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable): nothing was sent, or the
//!   server rejected the request.
//! - [`StoreError::Indeterminate`](lessor_core::StoreError::Indeterminate): a write was sent, and
//!   no reply arrived.
//! - [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured): the same call fails
//!   until the configuration is changed. Examples are a wrong password, a database that does not
//!   exist, and a command that the user may not run or that the server does not know.
//! - [`StoreError::Full`](lessor_core::StoreError::Full): the server has reached its `maxmemory`.
//!
//! Errors name the command and repeat the server's message, without the command's arguments.
//!
//! No request is sent twice. The store reconnects when a connection breaks and when a reply is
//! late.
//!
//! # Limits
//! All calls in progress take at most 64 MiB together: 1 KiB for each call, and its records.
//! Further calls fail with `Unavailable` at once. This happens when many calls are made while the
//! server does not reply. Replies that have arrived but have not been taken by their callers take
//! at most another 64 MiB. The caller of a further reply receives an error.
//!
//! A forked child cannot use its parent's store: calls return an error. The child has to open
//! another store.
//!
//! # Required permissions
//! A server with access control lists needs a user with the following permissions, and no channels.
//! `PREFIX` is [`field@Settings::prefix`].
//!
//! ```text
//! ACL SETUSER lessor on >PASSWORD ~PREFIX:* +get +set +del +pexpiretime +scan +eval +evalsha +eval_ro +evalsha_ro +time +info +client|tracking +client|caching
//! ```
//!
//! After connecting, the store runs each of these commands on a name that no key has. A server that
//! could grant a lease but not complete it is thus rejected.
//!
//! Some permissions depend on the use:
//!
//! - Without `client|tracking` and `client|caching`, waiters are not notified of changes made by
//!   other processes, and poll instead.
//! - A database other than 0 needs `+select`.
//! - The check of `appendfsync` needs `+config|get`. Without it, any append-only file passes.
//! - A cluster needs `+cluster|slots +cluster|nodes +asking`.
//!
//! # Cost
//! A fresh acquire, a refusal, a replay and each operation of a holder take one round trip. A
//! takeover, and dropping a lease that has no outcome yet, take two. Listing and purging walk over
//! all keys of the server's database in small steps. A purge continues where the call before
//! stopped.
//!
//! # Crate features
//! - `tls`: connections with TLS, for the URL schemes `rediss` and `rediss+cluster`.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod builder;
mod cluster;
mod config;
mod manager;
mod node;
mod protocol;
mod store;
mod transport;

pub use builder::Builder;
pub use config::settings::{Check, Settings};
pub use node::server_info::ServerInfo;
pub use store::redis_store::RedisStore;
