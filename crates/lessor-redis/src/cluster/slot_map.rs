//! The map from slots to the nodes that own them.

use std::sync::Arc;

use redis::Value;
use tokio::sync::Notify;

use super::node::{Node, NodeAddress};
use super::slot::SLOTS;

#[derive(Default)]
pub(super) struct SlotMap {
    pub(super) nodes: Vec<Node>,
    /// The owner of each slot; `None` if no node owns it.
    pub(super) owners: Vec<Option<NodeAddress>>,
}

impl SlotMap {
    pub(super) fn node(&self, address: &NodeAddress) -> Option<&Node> {
        self.nodes.iter().find(|node| node.address == *address)
    }

    pub(super) fn node_mut(&mut self, address: &NodeAddress) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.address == *address)
    }

    /// Returns the node at `address` if it is the one whose task holds `disconnected`, and not a
    /// later node with the same address.
    pub(super) fn node_of_task(
        &mut self,
        address: &NodeAddress,
        disconnected: &Arc<Notify>,
    ) -> Option<&mut Node> {
        self.node_mut(address).filter(|node| Arc::ptr_eq(&node.disconnected, disconnected))
    }

    pub(super) fn owner(&self, slot: usize) -> Option<&NodeAddress> {
        self.owners.get(slot).and_then(Option::as_ref)
    }

    /// Returns the nodes that own slots.
    pub(super) fn owning_nodes(&self) -> Vec<NodeAddress> {
        let mut nodes: Vec<NodeAddress> = Vec::new();
        for owner in self.owners.iter().flatten() {
            if nodes.last() != Some(owner) && !nodes.contains(owner) {
                nodes.push(owner.clone());
            }
        }
        nodes
    }

    /// Replaces the owners, and drops nodes that own no slots any more.
    pub(super) fn update(&mut self, table: SlotTable) {
        let SlotTable { owners, nodes } = table;
        self.owners = owners;
        self.nodes.retain(|node| {
            // A connected node without slots may be about to receive some.
            let is_kept =
                nodes.contains(&node.address) || node.connection.is_ok() || node.first_attempt.is_none();
            if !is_kept {
                node.disconnected.notify_one();
            }
            is_kept
        });
    }
}

/// The content of a reply to `CLUSTER SLOTS`.
pub(super) struct SlotTable {
    /// The owner of each slot.
    owners: Vec<Option<NodeAddress>>,
    pub(super) nodes: Vec<NodeAddress>,
}

impl SlotTable {
    /// Parses the reply of the node at `replying_host`. Returns `None` if no node owns slots.
    pub(super) fn parse(slots: Value, replying_host: &str) -> Option<Self> {
        let Value::Array(ranges) = slots else { return None };
        let mut owners = vec![None; SLOTS];
        let mut nodes: Vec<NodeAddress> = Vec::new();
        for range in ranges {
            let Value::Array(parts) = range else { continue };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else {
                continue;
            };
            let Some(node) = parse_node(master, replying_host) else { continue };
            let (Ok(first), Ok(last)) = (usize::try_from(*first), usize::try_from(*last)) else { continue };
            if let Some(owners) = owners.get_mut(first..=last) {
                owners.fill(Some(node.clone()));
            }
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        (!nodes.is_empty()).then_some(Self { owners, nodes })
    }
}

/// Parses a node of `CLUSTER SLOTS`. An empty host stands for `replying_host`.
fn parse_node(parts: &[Value], replying_host: &str) -> Option<NodeAddress> {
    let [host, Value::Int(port), ..] = parts else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    let host = match host {
        "?" => return None,
        "" => replying_host,
        host => host,
    };
    Some(NodeAddress { host: host.to_owned(), port: u16::try_from(*port).ok()? })
}
