//! Routing: sends each command to the node that owns its key.
//!
//! The client library supports clusters too, but it sends a command again after a connection has
//! broken. The command may have been executed already, so the library's errors do not say whether
//! it was. This router sends a command again only after a node has replied that it did not execute
//! the command because another node owns the key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use event_listener::Event;
use lessor_core::{Cause, StoreError, Timestamp};
use parking_lot::RwLock;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Notify;

use super::node::{Node, NodeAddress, NodeConnection, SentTo};
use super::slot::slot_of;
use super::slot_map::SlotMap;
use crate::node::context::ConnectionContext;
use crate::node::tracking::client_caching;
use crate::protocol::values::parse_time;
use crate::transport::wake::via_notifier;

/// The number of redirections that are followed at once. After so many, the nodes disagree, and the
/// command waits until the slot map has been read again.
const REDIRECTS: usize = 3;
/// While requests are being sent, the clock of each node is sampled this often; in µs.
pub(super) const RECENT: u64 = 100_000;

pub(crate) struct Cluster {
    pub(super) context: Arc<ConnectionContext>,
    pub(super) map: RwLock<SlotMap>,
    /// Notified when a node was connected or disconnected, or when the map was read.
    pub(super) changed: Event,
    /// Notified when the map was found to be out of date.
    pub(super) map_outdated: Notify,
    pub(super) is_closed: AtomicBool,
    /// The approximate time of the last request, in µs of this machine's time.
    pub(super) last_used: AtomicU64,
    /// The runtime of the store's thread.
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) this: Weak<Self>,
}

/// The node that a command is meant for.
enum Target {
    /// The owner of the key's slot.
    Owner,
    /// The node that the slot is migrating to. The key has been migrated, or does not exist yet.
    Ask(NodeAddress),
    /// This node, whichever slots it owns.
    Node(NodeAddress),
}

impl Cluster {
    /// Reads the slot map from one of the nodes in the URL and connects to every node of the map.
    pub(crate) async fn open(context: &Arc<ConnectionContext>) -> Result<Arc<Self>, StoreError> {
        let cluster = Arc::new_cyclic(|this| Self {
            context: Arc::clone(context),
            map: RwLock::default(),
            changed: Event::new(),
            map_outdated: Notify::new(),
            is_closed: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
            runtime: tokio::runtime::Handle::current(),
            this: Weak::clone(this),
        });
        cluster.read_from_seeds().await?;
        loop {
            let changed = cluster.changed.listen();
            if let Some(outcome) = cluster.open_outcome() {
                return outcome.map(|()| Arc::clone(&cluster));
            }
            changed.await;
        }
    }

    /// Returns whether the cluster can be used, once a connection to every node has been tried. An
    /// unreachable node makes only its own keys unavailable.
    fn open_outcome(&self) -> Option<Result<(), StoreError>> {
        let map = self.map.read();
        let mut outcome = None;
        for node in &map.nodes {
            match node.first_attempt.clone()? {
                Err(failure) if failure.is_misconfigured => return Some(Err(failure.error)),
                Err(failure) => outcome = outcome.or(Some(Err(failure.error))),
                Ok(()) => outcome = Some(Ok(())),
            }
        }
        outcome
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        for node in &mut self.map.write().nodes {
            node.connection = Err(Cause::new("the store is closed"));
        }
        self.changed.notify(usize::MAX);
        self.map_outdated.notify_one();
    }

    /// Sends a command to the node that owns its key. Waits for a connection to that node for as
    /// long as it takes; the caller bounds the wait.
    ///
    /// With `tracking`, the node reports later changes to the keys that the command reads. `sent`
    /// is set to the connection that the command was sent on, unless a node replied that it did not
    /// execute the command.
    pub(crate) async fn send(
        &self,
        command: &Cmd,
        tracking: bool,
        sent: &mut Option<SentTo>,
    ) -> Result<Value, RedisError> {
        let slot = slot_of(command);
        let (mut target, mut redirects) = (Target::Owner, 0);
        loop {
            let (address, mut node, has_waited) = self.connection_for(slot, &target).await?;
            if has_waited && matches!(target, Target::Ask(_)) {
                // The migration may have ended in the meantime.
                target = Target::Owner;
                continue;
            }
            let sent_to =
                SentTo { node: Some(address.clone()), generation: node.generation, clock: node.clock };
            let mark = || *sent = Some(sent_to);
            let first = match target {
                // The command has to follow ASKING directly, so it is not tracked.
                Target::Ask(_) => Some(cmd("ASKING")),
                _ if tracking && node.tracking => Some(client_caching()),
                _ => None,
            };
            let sent_at = self.context.clock.local();
            self.note_use(sent_at);
            let reply = match &first {
                None => node.connection.send(&[command], mark).await,
                Some(first) => node.connection.send(&[first, command], mark).await,
            };
            let error = match reply {
                Ok(reply) => {
                    if let Some(now) = time_in_reply(&reply) {
                        self.context.clock.sample(node.clock, sent_at, now);
                    }
                    return Ok(reply);
                }
                Err(error) => error,
            };
            let Some((is_ask, next)) = redirection(&error, &address.host) else { return Err(error) };
            *sent = None;
            redirects += 1;
            if redirects % REDIRECTS == 0 {
                self.wait_for_change().await;
                target = Target::Owner;
                continue;
            }
            self.add_node(next.clone());
            target = match is_ask {
                true => Target::Ask(next),
                false => {
                    self.set_owner(slot, next);
                    Target::Owner
                }
            };
        }
    }

    fn note_use(&self, now: u64) {
        if self.last_used.load(Ordering::Relaxed).saturating_add(RECENT / 4) < now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    /// Sends a command to the node at `address`.
    pub(crate) async fn send_to_node(
        &self,
        address: &NodeAddress,
        command: &Cmd,
        sent: &mut Option<SentTo>,
    ) -> Result<Value, RedisError> {
        let (address, mut node, _) = self.connection_for(0, &Target::Node(address.clone())).await?;
        let sent_to = SentTo { node: Some(address), generation: node.generation, clock: node.clock };
        node.connection.send(&[command], || *sent = Some(sent_to)).await
    }

    /// Waits for a connection to the target. Returns it, and whether it had to be waited for.
    async fn connection_for(
        &self,
        slot: usize,
        target: &Target,
    ) -> Result<(NodeAddress, NodeConnection, bool), RedisError> {
        if let Some((address, node)) = self.lookup(slot, target)? {
            return Ok((address, node, false));
        }
        loop {
            let changed = self.changed.listen();
            if let Some((address, node)) = self.lookup(slot, target)? {
                return Ok((address, node, true));
            }
            self.map_outdated.notify_one();
            via_notifier(&self.context.notifier, changed).await;
        }
    }

    /// Waits until the map was read again, or until a node was connected or disconnected.
    pub(crate) async fn wait_for_change(&self) {
        let changed = self.changed.listen();
        self.map_outdated.notify_one();
        via_notifier(&self.context.notifier, changed).await;
    }

    /// Returns the connection to the target, if there is one.
    fn lookup(
        &self,
        slot: usize,
        target: &Target,
    ) -> Result<Option<(NodeAddress, NodeConnection)>, RedisError> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err((ErrorKind::Client, "the store is closed").into());
        }
        let map = self.map.read();
        let address = match target {
            Target::Owner => map.owner(slot),
            Target::Ask(address) | Target::Node(address) => Some(address),
        };
        let node = address.and_then(|address| map.node(address));
        Ok(node.and_then(|node| Some((node.address.clone(), node.connection.clone().ok()?))))
    }

    /// Records the owner of a slot from a redirection.
    fn set_owner(&self, slot: usize, address: NodeAddress) {
        if let Some(owner) = self.map.write().owners.get_mut(slot) {
            *owner = Some(address);
        }
        self.map_outdated.notify_one();
    }

    /// Returns the reason why a node has no connection, if there is such a node.
    pub(crate) fn first_problem(&self) -> Option<Cause> {
        let map = self.map.read();
        let problem = |node: &Node| {
            let cause = node.connection.as_ref().err()?.clone();
            Some(cause.map_reason(|reason| format!("{}: {reason}", node.address)))
        };
        map.nodes.iter().find_map(problem)
    }

    /// Drops the connection of this generation to a node.
    pub(crate) fn disconnect(&self, address: &NodeAddress, generation: u64, cause: Cause) {
        let mut map = self.map.write();
        let Some(node) = map.node_mut(address) else { return };
        if node.connection.as_ref().is_ok_and(|connection| connection.generation == generation) {
            node.connection = Err(cause);
            node.disconnected.notify_one();
            self.map_outdated.notify_one();
        }
    }

    /// Returns the nodes that own slots, according to the current map.
    pub(crate) fn owning_nodes(&self) -> Vec<NodeAddress> {
        self.map.read().owning_nodes()
    }
}

/// Returns the time at the end of a script's reply. Scripts are the only commands on a single key
/// whose reply is an array.
fn time_in_reply(reply: &Value) -> Option<Timestamp> {
    let Value::Array(parts) = reply else { return None };
    parse_time(parts.get(2..)?)
}

/// Returns the node that an error redirects to, and whether the redirection is for this command
/// only (`ASK`). `replying_host` is the host of the node that replied.
fn redirection(error: &RedisError, replying_host: &str) -> Option<(bool, NodeAddress)> {
    let is_ask = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Ask) => true,
        ErrorKind::Server(ServerErrorKind::Moved) => false,
        _ => return None,
    };
    Some((is_ask, NodeAddress::parse(error.redirect_node()?.0, replying_host)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_redirection_names_the_node_and_whether_it_is_permanent() {
        let to = |line: &str| {
            let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            redirection(&reply.extract_error().unwrap_err(), "replying")
        };
        let node = |host: &str, port| NodeAddress { host: host.to_owned(), port };
        assert_eq!(to("ASK 3999 127.0.0.1:6381"), Some((true, node("127.0.0.1", 6381))));
        assert_eq!(to("MOVED 3999 [::1]:6382"), Some((false, node("::1", 6382))));
        // A node that does not know its own host leaves it out.
        assert_eq!(to("MOVED 3999 :6383"), Some((false, node("replying", 6383))));
        assert_eq!(to("MOVED 3999"), None);
        assert_eq!(to("CLUSTERDOWN The cluster is down"), None);
    }
}
