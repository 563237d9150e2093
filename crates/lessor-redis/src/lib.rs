//! The Redis store of *lessor*: leases that many processes and machines share.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
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
//! It needs Redis 7.0 or later, or Valkey. Each change of it is tested on Redis 7.0; Valkey 8.1 was tested by hand, with all of the tests.
//!
//! It brings a thread of its own and needs no async runtime: callers on plain threads and under any executor share one connection, on which
//! requests are sent one behind the other without waiting for each answer. A caller on a plain thread, while it is the only one, does
//! without that thread; one under Tokio does if the store was told of its runtime: see [`Opener::runtime`].
//!
//! # What it promises
//! An answer means that the server has done it. What that survives is up to the server: with `appendonly yes` and `appendfsync always` its
//! crash, with less than that not even its restart. [`Settings::persistence`] says what to do about a server that is set up for less.
//!
//! **A fail-over can lose acknowledged writes**, since Redis replicates after it has answered. A lease that is lost like that
//! is granted again, though its holder still works; a result that is lost is worked for again. What holds even then is that tokens rise, as long as
//! the clocks of the servers agree: they are made of the server's time. So a sink that refuses stale tokens is the remedy.
//!
//! All who share a prefix share the clock of the server. Whoever sets that clock forward has leases lapse early; set
//! back, they last longer.
//!
//! The expiry of a record tells when it arrived at the server, and so whether it counts. Nobody may change it by hand. A clock that is set by more
//! than five minutes in the moment a lease is granted may cost that lease.
//!
//! On a cluster every key has the clock of the node that it is on, so the nodes' clocks have to agree, as time servers have them do. A key that
//! moves to a node whose clock is ahead lapses that much earlier.
//!
//! # Errors
//! A request that is not answered within half of [`Settings::deadline`] is given up; the other half is for the engine's look whether a write took effect.
//! [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable) means that nothing was sent, or that the server has refused it;
//! [`StoreError::Indeterminate`](lessor_core::StoreError::Indeterminate) that a write was sent and no answer came.
//! [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured) means that the same call fails until somebody changes the configuration: a wrong password, a
//! database that does not exist, a command that the user may not use or that the server does not know. Errors name the command and repeat what the
//! server said, without the arguments. Nothing is sent twice. A connection that breaks, or on which an answer is late, is made anew.
//!
//! Calls that are under way take at most 64 MiB together, 1 KiB for each and its records. Beyond that a call fails with `Unavailable` at once, which is
//! what happens when much is asked of a server that stands still. Answers that have come, and that their callers do not look at, take as much again at most; the
//! caller of a further one is told that there is no room for it.
//!
//! A forked child cannot use the store of its parent, and is told so by an error; it opens a store of its own.
//!
//! # What it needs to be permitted
//! With access control lists, a user needs this, and no channels; `PREFIX` is [`Settings::prefix`]:
//!
//! ```text
//! ACL SETUSER lessor on >PASSWORD ~PREFIX:* +get +set +del +pexpiretime +scan +eval +evalsha +eval_ro +evalsha_ro +time +info +client|tracking +client|caching
//! ```
//!
//! Each of these is tried out when a connection is made, on a name that no key has, so that a server which could grant but not complete is refused.
//!
//! Without the two last, waiters are not told of what others do, and look every so often. For another database than 0 it takes `+select` too,
//! and `+config|get` to have it checked how the server syncs its file: else any append-only file passes. On a cluster it takes
//! `+cluster|slots +cluster|nodes +asking` too.
//!
//! # Cost
//! A fresh acquire, a refusal, a replay, and what a holder does are one round trip; a takeover, and giving a lease up, are two. Listing and purging walk over
//! all keys of the server's database, in small steps; a purge goes on where the call before has stopped.

mod address;
mod budget;
mod clock;
mod cluster;
mod deadlines;
mod failure;
mod hints;
mod landing;
mod link;
mod names;
mod probe;
mod scan;
mod scripts;
mod server;
mod settings;
mod store;
mod wake;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lessor_core::{Cas, Error};
use parking_lot::Mutex;
use tokio::runtime::Handle;

pub use server::Server;
pub use settings::{Check, Settings};

use crate::address::Address;
use crate::budget::Budget;
use crate::hints::Listeners;
use crate::link::Link;
use crate::names::Prefix;
use crate::scan::Purge;

/// Records on a Redis server.
///
/// Dropping it closes the connection.
pub struct RedisStore {
    shared: Arc<Shared>,
    cas: Cas<store::Commands>,
}

/// What replies that are under way hold on to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) prefix: Prefix,
    pub(crate) budget: Arc<Budget>,
    /// Before this nothing is due to be purged, as far as is known; in µs of the server's time.
    pub(crate) next_purge: AtomicU64,
    /// A purge that has not come to its end.
    pub(crate) purging: Mutex<Option<Purge>>,
}

impl RedisStore {
    /// Connects to the server that a URL names: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?SETTING=VALUE&…]`, with `rediss:` for TLS, or
    /// `redis+cluster://HOST:PORT,HOST:PORT` for a cluster. Settings are `prefix`, `persistence`, `eviction` and `role`: see [`Settings`].
    ///
    /// Fails with [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable) if there is no such server at the moment, and with
    /// [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured) if it is not fit or refuses the user.
    pub fn open(url: &str) -> Result<Self, Error> {
        Opener::new().open(url)
    }

    /// What the server said of itself when the connection was made last.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        self.shared.link.server()
    }

    /// How often, after a connection was lost, another server was found in its place, or the same after a restart. If it is not
    /// durable, leases and results may have been lost each time.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.shared.link.replaced()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        // A forked child has copies of the sockets, and not the thread that looks after them.
        if self.shared.link.check_process().is_ok() {
            self.shared.link.close();
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { link, prefix, .. } = &*self.shared;
        f.debug_struct("RedisStore").field("link", link).field("prefix", prefix).finish_non_exhaustive()
    }
}

/// Opens stores that are set up in another way than the default.
#[derive(Clone, Default)]
pub struct Opener {
    settings: Settings,
    runtime: Option<Handle>,
    #[cfg(feature = "tls")]
    certificates: Option<redis::TlsCertificates>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Opener {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These settings, as far as a URL does not say otherwise.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Lets a caller on this runtime, while it is the only one, wait for its answer there, where else the store's thread would have to wake it:
    /// on a server close by, each operation takes about half as long. The runtime need not go on as long as the store does. With TLS, nothing is different.
    ///
    /// # Panics
    /// Where the runtime was built without [`enable_io`](tokio::runtime::Builder::enable_io) or `enable_all`.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        #[cfg(unix)]
        {
            // There is no way to ask.
            let _entered = runtime.enter();
            let _ = tokio::net::UnixDatagram::unbound();
        }
        self.runtime = Some(runtime);
        self
    }

    /// Trusts this authority, given as PEM, instead of those that the system trusts.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn trust(mut self, authority: impl Into<Vec<u8>>) -> Self {
        let certificates =
            self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None });
        certificates.root_cert = Some(authority.into());
        self
    }

    /// Shows the server this certificate and proves with the key that it is one's own, both given as PEM.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let certificates =
            self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None });
        let (client_cert, client_key) = (certificate.into(), key.into());
        certificates.client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
        self
    }

    /// Connects; see [`RedisStore::open`].
    pub fn open(mut self, url: &str) -> Result<RedisStore, Error> {
        // Whatever the application has chosen for itself stays.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = Address::parse(url, &mut self.settings)?;
        let prefix = self.settings.check()?;
        let listeners = Arc::new(Listeners::new(prefix.clone()));
        #[cfg(feature = "tls")]
        let link = Link::open(self.settings, address, listeners, self.runtime, self.certificates)?;
        #[cfg(not(feature = "tls"))]
        let link = Link::open(self.settings, address, listeners, self.runtime)?;
        let shared = Arc::new(Shared {
            link,
            prefix,
            budget: Arc::default(),
            next_purge: AtomicU64::new(0),
            purging: Mutex::default(),
        });
        let cas = Cas::new(store::Commands(Arc::clone(&shared)));
        Ok(RedisStore { shared, cas })
    }
}
