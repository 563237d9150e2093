//! The interface between the engine and its store.
//!
//! Authors of stores implement [`CompareAndSwap`] or [`Store`]. Both traits document their
//! contracts.

pub(crate) mod cas;
pub(crate) mod closing;
pub(crate) mod contract;
pub(crate) mod first_keys;
pub(crate) mod notifier;
pub(crate) mod operation;
pub(crate) mod subscribers;
pub(crate) mod types;
pub(crate) mod unconfirmed;

pub use crate::data::snapshot::Snapshot;
pub use crate::data::store_error::StoreError;
pub use crate::data::write::{ConditionalWrite, OwnedConditionalWrite};
pub use crate::store::closing::Closing;
pub use crate::store::operation::{Applied, Executed, Execution, Operation, OwnedOperation, RecordSlot};
pub use crate::store::subscribers::Subscribers;
pub use crate::store::unconfirmed::Unconfirmed;
pub use crate::sync::pending::may_block;
pub use crate::sync::wakers::{CallerWaker, Notifier, mark_own_thread};
pub use contract::{CompareAndSwap, Store};
pub use first_keys::FirstKeys;
pub use notifier::ChangeNotifier;
pub use types::{CasResult, Durability, Page, Purged, Reply, Scan};
