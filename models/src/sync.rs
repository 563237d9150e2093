//! The core's module `sync`, with the primitives of the model checker.

#[path = "../../crates/lessor-core/src/sync/presence.rs"]
pub(crate) mod presence;
pub(crate) mod primitives;
