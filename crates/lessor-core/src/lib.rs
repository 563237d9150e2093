//! The lease state machine, the [`Store`] contract and the [`Engine`] of *lessor*.
//!
//! Applications depend on the crate `lessor`, which re-exports this one and opens stores by URL. Authors of stores depend on
//! this crate for [`Store`] and on `lessor-testkit` for the suite that says whether theirs is correct.
//!
//! ```text
//!  your code ──► Engine ──► rules::decide(record, command, now) ──► Decision
//!                  │          every lease rule; pure
//!                  └──► Store: now · load · execute · scan · purge · durability · close · attach
//!                             whole records; knows no lease rule
//! ```

mod api;
mod data;
pub mod rules;
mod run;
pub mod store;
mod sync;

pub use api::acquire::{AcquireRequest, Acquisition};
pub use api::close::Close;
pub use api::engine::{Engine, Listing};
pub use api::lease::{Lease, LeaseHandle};
pub use api::once::{ERRORED, Once, OnceError, Outcome, PANICKED, RESULT_REFUSED};
pub use api::resolve::Resolve;
pub use data::codec::{DecodeError, FORMAT_VERSION};
pub use data::error::{Error, ErrorKind};
pub use data::fingerprint::Fingerprint;
pub use data::key::{Key, KeyError, MAX_KEY_CHARS};
pub use data::lease_id::{LeaseId, LeaseIdError};
pub use data::payload::Payload;
pub use data::record::{Failure, GrantEnd, PreviousGrant, Record, RecordHeader, Stage, Token, Version};
pub use data::state::State;
pub use data::time::{Clock, SystemClock, Timestamp};
pub use data::view::View;
pub use rules::Ack;
pub use rules::settings::{Backoff, OnFailed, OnLapsed, Settings};
pub use store::cas::Cas;
pub use store::closing::{CloseProgress, CloseStep, CloseWatch, Closed, Closing};
pub use store::{CompareAndSwap, Durability, Store, StoreError};
pub use sync::pending::{Pending, block_on};
