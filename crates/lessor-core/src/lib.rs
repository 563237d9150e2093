//! The lease state machine, the [`Store`] contract and the [`Engine`] of *lessor*.
//!
//! Applications depend on the crate `lessor`, which re-exports this one and opens stores by URL. Authors of stores depend on
//! this crate for [`Store`] and on `lessor-testkit` for the suite that says whether theirs is correct.
//!
//! ```text
//!  your code ──► Engine ──► machine::decide(record, command, now) ──► Decision
//!                  │          every lease rule; pure
//!                  └──► Store: now · load · execute · scan · purge · durability · close · attach
//!                             whole records; knows no lease rule
//! ```

mod acquire;
mod background;
mod cas;
mod clock;
mod close;
mod closing;
mod codec;
mod context;
mod engine;
mod error;
mod fingerprint;
mod given_up;
mod hash;
mod holders;
mod key;
mod lease;
mod lease_id;
pub mod machine;
mod notifier;
mod once;
mod operation;
mod pending;
mod presence;
mod random;
mod record;
mod resolve;
mod settings;
mod signal;
mod state;
pub mod store;
mod subscribers;
mod sync;
mod tasks;
mod time;
mod unconfirmed;
mod value;
mod view;
mod wait;
mod watches;
mod within;
mod worker;

pub use acquire::{AcquireRequest, Acquisition};
pub use cas::Cas;
pub use close::Close;
pub use closing::{CloseProgress, CloseStep, CloseWatch, Closed, Closing};
pub use codec::{DecodeError, FORMAT_VERSION};
pub use engine::{Engine, Listing};
pub use error::{Error, ErrorKind};
pub use fingerprint::Fingerprint;
pub use key::{Key, KeyError, MAX_KEY_CHARS};
pub use lease::{Held, Lease};
pub use lease_id::{LeaseId, LeaseIdError};
pub use machine::Ack;
pub use once::{ERRORED, Once, OnceError, Outcome, PANICKED, RESULT_REFUSED};
pub use pending::{Pending, block_on};
pub use record::{Ended, Failure, Former, Outline, Payload, Record, Stage, Token, Version};
pub use resolve::Resolve;
pub use settings::{Backoff, OnFailed, OnLapsed, Settings};
pub use state::State;
pub use store::{CompareAndSwap, Durability, Store, StoreError};
pub use time::{Clock, SystemClock, Timestamp};
pub use view::View;
