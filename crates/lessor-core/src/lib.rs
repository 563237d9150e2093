//! The core of *lessor*: leases with fencing tokens, over a pluggable store.
//!
//! Applications depend on the crate `lessor`, which re-exports this one and opens stores by URL.
//! Authors of stores depend on this crate for the traits [`Store`] and [`CompareAndSwap`], and on
//! `lessor-testkit` for the conformance suite.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lessor_core::{Acquisition, Engine};
//! use lessor_memory::MemoryStore;
//!
//! let engine = Engine::new(Arc::new(MemoryStore::new()))?;
//! match engine.acquire("invoice-42").wait()? {
//!     // The caller holds the lease, does the work and delivers its result.
//!     Acquisition::Acquired(lease) => {
//!         lease.complete(&"charged").wait()?;
//!     }
//!     Acquisition::Completed(view) => println!("done before: {}", view.result::<String>()?),
//!     other => println!("{other:?}"),
//! }
//! # Ok::<(), lessor_core::Error>(())
//! ```
//!
//! # Concepts
//!
//! - A *key* names a piece of work. All callers that give the same key compete for the same work.
//! - A *lease* is the exclusive right to work on a key for a limited time, its *ttl*. It ends with
//!   an outcome ([completed](LeaseHandle::complete) or [failed](LeaseHandle::fail)), when it is
//!   [released](LeaseHandle::release), or when it *lapses*.
//! - A *token* numbers the grants of a key. It rises with each grant, so a resource can reject the
//!   writes of a former holder (*fencing*).
//! - A *record* keeps the state of a key in the store, until its *retention* ends.
//!
//! # Structure
//!
//! ```text
//!  api     Engine · AcquireRequest · Once · Lease · LeaseHandle
//!   │        the types that applications use
//!   ▼
//!  run     background threads · waiters · leases that are kept alive
//!   ▼
//!  store   trait Store: now · load · execute · scan · purge · durability · close · subscribe
//!   │        Cas: a Store over a CompareAndSwap, with the retry loop
//!   ▼
//!  rules   decide(record, command, now, retention) ──► Decision
//!   │        every lease rule; no I/O, no clock, no randomness
//!   ▼
//!  data    Key · Token · Timestamp · Record and its encoding · View · Error
//! ```
//!
//! Each layer is a folder of this crate and uses only the layers below it. `sync` has the futures
//! and wake-ups that `store`, `run` and `api` use.

mod api;
mod data;
pub mod rules;
mod run;
pub mod store;
mod sync;

pub use api::acquire::AcquireRequest;
pub use api::acquire::answer::Acquisition;
pub use api::close::Close;
pub use api::engine::Engine;
pub use api::explain::{Explanation, WaitsFor};
pub use api::lease::Lease;
pub use api::lease::handle::LeaseHandle;
pub use api::list::{ListRequest, Listing};
pub use api::namespace::OpenNamespace;
pub use api::once::{
    Bytes, Codec, DetachedTask, ERRORED, FailureClass, Json, Message, Once, OnceError, Outcome, PANICKED,
    RESULT_REFUSED, Reconciled, Retrying, Versioned,
};
pub use api::resolve::Resolve;
pub use data::cause::Cause;
pub use data::decode_error::{DecodeError, FORMAT_VERSION};
pub use data::error::{Error, JsonError};
pub use data::error_kind::ErrorKind;
pub use data::failure::Failure;
pub use data::fingerprint::Fingerprint;
pub use data::history::{EndedBy, HistoryEntry, HistoryKind};
pub use data::key::{Key, MAX_STORED_KEY_CHARS};
pub use data::key_part::{KeyPart, PartWriter};
pub use data::key_text::{KeyError, MAX_KEY_CHARS};
pub use data::lease_id::{LeaseId, LeaseIdError};
pub use data::month::Month;
pub use data::namespace::MAX_NAMESPACE_CHARS;
pub use data::out_of_range::OutOfRange;
pub use data::payload::Payload;
pub use data::record::{GrantEnd, PreviousGrant, Record, RecordHeader, Stage};
pub use data::state::State;
pub use data::time::{Clock, SystemClock, Timestamp};
pub use data::token::{Token, Version};
pub use data::usage::Usage;
pub use data::view::View;
pub use rules::Ack;
pub use rules::policies::{Backoff, OnFailed, OnLapsed};
pub use rules::quota::Quota;
pub use rules::settings::{KeysInLogs, Limits, Schedule, Settings};
pub use run::observer::counters::Stats;
pub use run::observer::survey::{Survey, Unresolved};
pub use store::cas::Cas;
pub use store::closing::{CloseProgress, CloseStep, CloseWatch, Closed, Closing};
pub use store::{CompareAndSwap, Durability, Store, StoreError};
pub use sync::pending::{Pending, block_on};
