//! A cluster: one connection per node that owns slots, and the map from slots to nodes.

mod maintenance;
pub(crate) mod node;
pub(crate) mod node_slots;
pub(crate) mod router;
pub(crate) mod slot;
mod slot_map;
