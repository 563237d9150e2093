//! The nodes of a cluster, and the connections to them.

use std::fmt;
use std::sync::Arc;

use lessor_core::{Cause, StoreError};
use tokio::sync::Notify;

use crate::transport::connection::Connection;

/// The address of a node that owns slots, as the cluster announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl NodeAddress {
    /// Parses the `HOST:PORT` of a redirection. An empty host stands for the host of the node that
    /// replied, `replying_host`.
    pub(super) fn parse(text: &str, replying_host: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { replying_host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// An established connection to a node.
#[derive(Clone)]
pub(crate) struct NodeConnection {
    pub(crate) connection: Connection,
    pub(crate) generation: u64,
    /// True if the node reports changes to keys that were read.
    pub(crate) tracking: bool,
    /// The id of the node's clock in [`ServerClock`](crate::node::clock::ServerClock).
    pub(crate) clock: u64,
}

/// A node of the slot map.
pub(super) struct Node {
    pub(super) address: NodeAddress,
    /// The connection, or the reason why there is none.
    pub(super) connection: Result<NodeConnection, Cause>,
    /// Notified when the connection is lost, or when the node no longer owns slots.
    pub(super) disconnected: Arc<Notify>,
    /// The outcome of the first attempt to connect, once there is one.
    pub(super) first_attempt: Option<Result<(), ConnectFailure>>,
}

/// The reason why a connection to a node could not be used.
#[derive(Clone)]
pub(super) struct ConnectFailure {
    pub(super) error: StoreError,
    /// True if the node replied, but its configuration is not suitable.
    pub(super) is_misconfigured: bool,
}

/// The connection that a request was sent on.
pub(crate) struct SentTo {
    /// The node, if the server is a cluster.
    pub(crate) node: Option<NodeAddress>,
    pub(crate) generation: u64,
    /// The id of the server's clock in [`ServerClock`](crate::node::clock::ServerClock).
    pub(crate) clock: u64,
}
