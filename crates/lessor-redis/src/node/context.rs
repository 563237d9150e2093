//! The state that all connections of a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::Timestamp;
use lessor_core::store::Notifier;
use parking_lot::RwLock;
use tokio::runtime::Handle;

use super::clock::{SINGLE_SERVER, ServerClock};
use super::invalidation::Invalidation;
use super::server_info::ServerInfo;
use crate::config::address::Address;
use crate::config::settings::Settings;
use crate::protocol::errors::RequestInfo;

/// The parts of a store that its connections need. The connection manager and a cluster's router
/// both hold it, so that neither has to know the other.
pub(crate) struct ConnectionContext {
    pub(crate) settings: Settings,
    pub(crate) address: Address,
    pub(crate) clock: ServerClock,
    pub(crate) invalidation: Arc<Invalidation>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<redis::TlsCertificates>,
    /// The application's runtime, on which a task may read its own reply.
    pub(crate) runtime: Option<Handle>,
    /// Wakes callers.
    pub(crate) notifier: Notifier,
    generation: AtomicU64,
    server: RwLock<Option<ServerInfo>>,
    server_changes: AtomicU64,
}

impl ConnectionContext {
    pub(crate) fn new(
        settings: Settings,
        address: Address,
        invalidation: Invalidation,
        runtime: Option<Handle>,
        #[cfg(feature = "tls")] certificates: Option<redis::TlsCertificates>,
    ) -> Self {
        Self {
            settings,
            address,
            clock: ServerClock::new(),
            invalidation: Arc::new(invalidation),
            #[cfg(feature = "tls")]
            certificates,
            runtime,
            notifier: Notifier::new(),
            generation: AtomicU64::new(0),
            server: RwLock::new(None),
            server_changes: AtomicU64::new(0),
        }
    }

    /// Describes a request for an error message.
    pub(crate) fn request_info<'a>(&'a self, endpoint: &'a str, command: &'a str) -> RequestInfo<'a> {
        RequestInfo { endpoint, user: &self.address.user, command }
    }

    /// Returns a number that identifies a new connection.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the latest information about the server.
    pub(crate) fn server(&self) -> Option<ServerInfo> {
        self.server.read().clone()
    }

    /// Stores newer information about the server.
    pub(crate) fn set_server(&self, server: ServerInfo) {
        *self.server.write() = Some(server);
    }

    /// Records a new connection to a server. `is_replacement` says that its run id differs from
    /// that of the server before.
    pub(crate) fn on_server(&self, endpoint: &str, server: ServerInfo, is_replacement: bool) {
        self.set_server(server);
        if is_replacement {
            self.server_changes.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(endpoint, "the server was restarted or replaced by another one");
        }
    }

    pub(crate) fn server_changes(&self) -> u64 {
        self.server_changes.load(Ordering::Relaxed)
    }

    /// Records a server's time from the reply to a request that was sent at `sent`, in µs of this
    /// machine's time.
    pub(crate) fn observe_clock(&self, sent: u64, server: Timestamp) {
        match self.address.is_cluster {
            // The replying node is known only where the request was routed.
            true => self.clock.observe(server),
            false => self.clock.sample(SINGLE_SERVER, sent, server),
        }
    }
}
