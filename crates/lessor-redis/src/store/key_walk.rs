//! A walk over the record names on the server, in small steps.

use lessor_core::StoreError;
use redis::{Value, cmd};

use crate::cluster::node::NodeAddress;
use crate::cluster::node_slots::NodeSlots;
use crate::manager::connection_manager::ConnectionManager;
use crate::protocol::errors::Effect;

/// The number of names that the server examines in one step.
pub(super) const NAMES_PER_STEP: usize = 1_000;
/// The number of times that a walk starts again because slots are migrating.
const MAX_RESTARTS: usize = 20;

/// Visits each name that matches a pattern and exists from the beginning to the end of the walk at
/// least once.
pub(super) struct KeyWalk {
    pattern: String,
    /// The nodes that are still to be visited; the last one is being visited.
    nodes: Vec<Option<NodeAddress>>,
    cursor: Vec<u8>,
    /// The owners of the slots when the walk began; empty if migrations do not matter.
    layout: Vec<(NodeAddress, NodeSlots)>,
    /// True if the nodes of this layout are being visited for the second time.
    is_second_pass: bool,
    restarts_left: usize,
}

impl KeyWalk {
    /// Begins a walk that also finds the names that migrate between nodes meanwhile.
    pub(super) async fn begin(manager: &ConnectionManager, pattern: String) -> Result<Self, StoreError> {
        let layout = manager.cluster_layout().await?;
        let nodes = match layout.is_empty() {
            true => vec![None],
            false => layout.iter().map(|(node, _)| Some(node.clone())).collect(),
        };
        let cursor = b"0".to_vec();
        Ok(Self { pattern, nodes, cursor, layout, is_second_pass: false, restarts_left: MAX_RESTARTS })
    }

    /// Begins a walk that may miss names that migrate between nodes meanwhile.
    pub(super) async fn begin_lenient(
        manager: &ConnectionManager,
        pattern: String,
    ) -> Result<Self, StoreError> {
        let mut walk = Self::begin(manager, pattern).await?;
        walk.layout.clear();
        Ok(walk)
    }

    /// Returns whether the walk is complete. Otherwise, a record may have migrated from a node that
    /// had not been visited yet to one that had, and the walk starts again.
    async fn end(&mut self, manager: &ConnectionManager) -> Result<bool, StoreError> {
        if self.layout.is_empty() {
            return Ok(true);
        }
        let layout = manager.cluster_layout().await?;
        let is_same = layout == self.layout;
        let is_migrating = layout.iter().any(|(_, own)| !own.migrating_to.is_empty());
        if is_same && (!is_migrating || self.is_second_pass) {
            return Ok(true);
        }
        let Some(restarts_left) = self.restarts_left.checked_sub(1) else {
            let reason =
                "keys migrate between the cluster's nodes faster than they can be listed; try again later";
            return Err(StoreError::unavailable(reason));
        };
        self.nodes = layout.iter().map(|(node, _)| Some(node.clone())).collect();
        (self.layout, self.is_second_pass, self.restarts_left) = (layout, is_same, restarts_left);
        Ok(false)
    }

    /// Returns some more names, or `None` at the end of the walk.
    pub(super) async fn step(
        &mut self,
        manager: &ConnectionManager,
    ) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        if self.nodes.is_empty() && self.end(manager).await? {
            return Ok(None);
        }
        let Some(node) = self.nodes.last() else { return Ok(None) };
        let mut command = cmd("SCAN");
        command.arg(&self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(NAMES_PER_STEP);
        let unexpected = || StoreError::incompatible("unexpected reply to SCAN");
        let reply = manager.call_node(node.as_ref(), &command, Effect::Read).await?;
        let Value::Array(mut parts) = reply else { return Err(unexpected()) };
        let (Some(Value::Array(names)), Some(Value::BulkString(next))) = (parts.pop(), parts.pop()) else {
            return Err(unexpected());
        };
        if next == b"0" {
            self.nodes.pop();
        }
        self.cursor = next;
        let bytes = |name| if let Value::BulkString(name) = name { Some(name) } else { None };
        Ok(Some(names.into_iter().filter_map(bytes).collect()))
    }
}
