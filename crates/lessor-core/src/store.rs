//! The contract between the engine and its store.

pub(crate) mod contract;
pub(crate) mod error;
pub(crate) mod notifier;
pub(crate) mod types;

pub use crate::closing::Closing;
pub use crate::notifier::{CallerWaker, Notifier, mark_own_thread};
pub use crate::operation::{Applied, Executed, Execution, Operation, OwnedOperation, RecordSlot};
pub use crate::pending::may_block;
pub use crate::subscribers::Subscribers;
pub use crate::unconfirmed::Unconfirmed;
pub use contract::{CompareAndSwap, Store};
pub use error::StoreError;
pub use notifier::ChangeNotifier;
pub use types::{
    CasResult, ConditionalWrite, Durability, OwnedConditionalWrite, Page, Purged, Reply, Scan, Snapshot,
};
