//! The core's layer of the same name, on the model checker's primitives.

#[path = "../../crates/lessor-core/src/sync/presence.rs"]
pub(crate) mod presence;
pub(crate) mod primitives;
