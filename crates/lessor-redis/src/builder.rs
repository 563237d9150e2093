//! Opening a store.

use std::fmt;

use lessor_core::Error;
use tokio::runtime::Handle;

use crate::config::address::Address;
use crate::config::settings::Settings;
use crate::manager::connection_manager::ConnectionManager;
use crate::node::context::ConnectionContext;
use crate::node::invalidation::Invalidation;
use crate::store::redis_store::RedisStore;

impl RedisStore {
    /// Connects to a server or a cluster with the default settings.
    ///
    /// The URL has one of two forms:
    ///
    /// - `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?SETTING=VALUE&…]` for a single server;
    /// - `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT[?SETTING=VALUE&…]` for a cluster,
    ///   with the addresses of one or more of its nodes.
    ///
    /// `rediss` in place of `redis` selects TLS, which needs the feature `tls`. The settings are
    /// `prefix`, `persistence`, `eviction` and `role`; see [`Settings`].
    ///
    /// Blocks the current thread until the server has been checked, at most for
    /// [`field@Settings::deadline`].
    ///
    /// # Errors
    /// - [`Error::Invalid`] if the URL or a setting is not valid.
    /// - [`Error::Store`] with [`StoreError::Unavailable`](lessor_core::StoreError::Unavailable) if
    ///   the server cannot be reached, or not yet be used.
    /// - [`Error::Store`] with
    ///   [`StoreError::Misconfigured`](lessor_core::StoreError::Misconfigured) if the server
    ///   rejects the user, or if its configuration fails a required [`Check`].
    /// - [`Error::Store`] with [`StoreError::Incompatible`](lessor_core::StoreError::Incompatible)
    ///   if the server is older than Redis 7.0.
    /// - [`Error::Thread`] if the background thread cannot be started.
    ///
    /// [`Check`]: crate::Check
    ///
    /// # Examples
    /// ```no_run
    /// use lessor_redis::RedisStore;
    ///
    /// let store = RedisStore::open("redis://127.0.0.1/0?prefix=my-app&persistence=require")?;
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::builder().open(url)
    }

    /// Returns a builder, to open a store with other settings than the default ones.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Opens a [`RedisStore`] with custom settings. Made by [`RedisStore::builder`].
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
///
/// use lessor_redis::{Check, RedisStore, Settings};
///
/// let settings = Settings::new()
///     .prefix("my-app")
///     .deadline(Duration::from_secs(2))
///     .persistence(Check::Require);
/// let store = RedisStore::builder().settings(settings).open("redis://127.0.0.1/0")?;
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Builder {
    settings: Settings,
    runtime: Option<Handle>,
    #[cfg(feature = "tls")]
    certificates: Option<redis::TlsCertificates>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets all settings. Settings in the URL override these.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Reads replies on this Tokio runtime while only one request at a time is outstanding, instead
    /// of on the store's own thread.
    ///
    /// This roughly halves the latency of a single async caller on a nearby server. The store stays
    /// usable after the runtime has been shut down. Connections with TLS ignore this setting.
    ///
    /// # Panics
    /// Panics if the runtime was built without
    /// [`enable_io`](tokio::runtime::Builder::enable_io) or `enable_all`.
    ///
    /// # Examples
    /// ```no_run
    /// use lessor_redis::RedisStore;
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = tokio::runtime::Handle::current();
    /// // Opening a store blocks, so it is done outside of the async code.
    /// let open = move || RedisStore::builder().runtime(runtime).open("redis://127.0.0.1/0");
    /// let store = std::thread::spawn(open).join().expect("opening panicked")?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn runtime(mut self, runtime: Handle) -> Self {
        #[cfg(unix)]
        {
            // A handle does not say whether I/O is enabled. Registering a socket panics if it is
            // not.
            let _entered = runtime.enter();
            let _ = tokio::net::UnixDatagram::unbound();
        }
        self.runtime = Some(runtime);
        self
    }

    /// Trusts this certificate authority, given as PEM, instead of those that the system trusts.
    ///
    /// [`open`](Self::open) returns an error if the PEM text is not valid.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn trust(mut self, authority: impl Into<Vec<u8>>) -> Self {
        let certificates =
            self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None });
        certificates.root_cert = Some(authority.into());
        self
    }

    /// Presents this client certificate to the server. The certificate and its private key are
    /// given as PEM.
    ///
    /// [`open`](Self::open) returns an error if the PEM text is not valid.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let certificates =
            self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None });
        let (client_cert, client_key) = (certificate.into(), key.into());
        certificates.client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
        self
    }

    /// Connects to the server or cluster that the URL names.
    ///
    /// Blocks the current thread. See [`RedisStore::open`] for the form of the URL.
    ///
    /// # Errors
    /// See [`RedisStore::open`].
    pub fn open(mut self, url: &str) -> Result<RedisStore, Error> {
        // Does nothing if the application has installed a provider itself.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = Address::parse(url, &mut self.settings)?;
        let prefix = self.settings.validate()?;
        let invalidation = Invalidation::new(prefix.clone());
        #[cfg(feature = "tls")]
        let context =
            ConnectionContext::new(self.settings, address, invalidation, self.runtime, self.certificates);
        #[cfg(not(feature = "tls"))]
        let context = ConnectionContext::new(self.settings, address, invalidation, self.runtime);
        Ok(RedisStore::new(ConnectionManager::open(context)?, prefix))
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Builder>();
    assert_send_sync::<Settings>();
};
