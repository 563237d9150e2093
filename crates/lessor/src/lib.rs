//! *lessor* runs a piece of work exactly once and returns its outcome to all later callers.
//!
//! A key names the work. The first caller acquires a lease for a limited time and does the work.
//! Other callers get *in progress* and can wait. The holder renews the lease while it works, and
//! completes it with a result or fails it. All later callers get that outcome until its retention
//! ends, by default after seven days. If the holder dies, its lease lapses and another caller can
//! take over.
//!
//! ```
//! let engine = lessor::open("memory:")?;
//!
//! let charge = || Ok::<_, String>("receipt 1".to_owned());
//! let first = engine.once("invoice:42").run(|_lease| charge()).unwrap();
//! // The second call does not run its work.
//! let second = engine.once("invoice:42").run(|_lease| Err::<String, String>("not run".into())).unwrap();
//!
//! assert!(!first.is_replay() && second.is_replay());
//! assert_eq!(second.into_value(), "receipt 1");
//! # Ok::<(), lessor::Error>(())
//! ```
//!
//! The same in single steps:
//!
//! ```
//! use std::time::Duration;
//! use lessor::Acquisition;
//!
//! let engine = lessor::open("memory:")?;
//! match engine.acquire("invoice:43").ttl(Duration::from_secs(30)).wait()? {
//!     Acquisition::Acquired(lease) => {
//!         let lease = lease.keep_alive();
//!         let receipt = format!("charged with token {}", lease.token());
//!         lease.complete(&receipt).wait()?;
//!     }
//!     Acquisition::InProgress(view) => println!("leased for another {:?}", view.ttl_left()),
//!     Acquisition::Completed(view) => println!("done before: {}", view.result::<String>()?),
//!     Acquisition::Failed(view) => println!("failed before: {:?}", view.error_code()),
//!     Acquisition::InDoubt(_) => println!("in doubt: check the effects, then resolve"),
//!     other => println!("not granted: {other:?}"),
//! }
//! # Ok::<(), lessor::Error>(())
//! ```
//!
//! Every operation returns a [`Pending`]. Plain threads call `.wait()` on it. Async code awaits it
//! under any executor.
//!
//! # Limits
//!
//! A lease alone does not make an external side effect happen exactly once. A holder can die after
//! the effect and before its completion, and the next holder cannot know. The effect happens
//! exactly once if its target is idempotent, if the completion is written in the same transaction
//! as the effect, or if its target rejects outdated [tokens](Lease::token) (see [`fence`]) and can
//! be asked whether the effect has happened. If none of these is possible, [`OnLapsed::InDoubt`]
//! gives *at most once* instead of *at least once*. `lessor_testkit::crash_everywhere` tests a
//! function for that.
//!
//! # Guides
//!
//! The module [`guide`] has guides: what [exactly once](guide::exactly_once) can mean,
//! [fencing](guide::fencing), [choosing a store](guide::choosing_a_store),
//! [testing](guide::testing), a [comparison](guide::comparison), and others.
//!
//! # Crate features
//!
//! | feature | adds |
//! |---|---|
//! | `memory` (default) | the in-memory store, [`MemoryStore`] |
//! | `file` (default) | the file store, [`FileStore`], and [`fence::FileFence`] |
//! | `redis` | the Redis store, `RedisStore` |
//! | `redis-tls` | TLS for the Redis store |
//! | `metrics` | metrics for the application's recorder: see the guide on observability |
//! | `macros` | the attribute `lessor::once`, which makes a function run once |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "macros")]
mod attribute;
#[cfg(any(doc, doctest))]
pub mod guide;
mod url;

use std::sync::Arc;

pub use lessor_core::{
    Ack, AcquireRequest, Acquisition, Backoff, Bytes, Cause, Close, CloseProgress, CloseStep, CloseWatch,
    Closed, Codec, DetachedTask, Durability, ERRORED, EndedBy, Engine, Error, ErrorKind, Explanation,
    FailureClass, Fingerprint, GrantEnd, HistoryEntry, HistoryKind, Json, JsonError, Key, KeyError, KeyPart,
    KeysInLogs, Lease, LeaseHandle, LeaseId, LeaseIdError, Limits, ListRequest, Listing, MAX_KEY_CHARS,
    MAX_NAMESPACE_CHARS, Message, Month, OnFailed, OnLapsed, Once, OnceError, OpenNamespace, OutOfRange,
    Outcome, PANICKED, PartWriter, Pending, PreviousGrant, Quota, RESULT_REFUSED, Reconciled, Resolve,
    Retrying, Schedule, Settings, State, Stats, Store, StoreError, Survey, Timestamp, Token, Unresolved,
    Usage, Version, Versioned, View, WaitsFor, block_on,
};

/// The interface for authors of stores.
///
/// The guide [Writing a store](guide::writing_a_store) explains it, and the crate `lessor-testkit` has the conformance suite.
pub mod store {
    pub use lessor_core::store::{
        Applied, CallerWaker, CasResult, ChangeNotifier, Closing, CompareAndSwap, ConditionalWrite,
        Durability, Executed, Execution, FirstKeys, Notifier, Operation, OwnedConditionalWrite,
        OwnedOperation, Page, Purged, RecordSlot, Reply, Scan, Snapshot, Store, StoreError, Subscribers,
        Unconfirmed, mark_own_thread, may_block,
    };
    pub use lessor_core::{
        Cas, Clock, DecodeError, FORMAT_VERSION, MAX_STORED_KEY_CHARS, Record, RecordHeader, Stage,
        SystemClock,
    };
}

/// Fences, which refuse the effects of a former holder at the sink.
pub use lessor_fence as fence;

#[cfg(feature = "macros")]
pub use attribute::once;
/// The file store.
#[cfg(feature = "file")]
pub use lessor_file as file;
#[cfg(feature = "file")]
pub use lessor_file::FileStore;
/// The in-memory store.
#[cfg(feature = "memory")]
pub use lessor_memory::MemoryStore;
/// The Redis store.
#[cfg(feature = "redis")]
pub use lessor_redis as redis;
#[cfg(feature = "redis")]
pub use lessor_redis::RedisStore;
pub use url::StoreUrl;

/// Opens the store that `url` names, and returns an engine over it with the default settings.
///
/// | URL | store | feature |
/// |---|---|---|
/// | `file:FOLDER` | an append-only log in this folder, which is created if its parent exists. One process at a time | `file` (default) |
/// | `file:FOLDER?sync=process` | a log whose writes survive the end of the process but not a power loss: see [`file::SyncMode`] | `file` (default) |
/// | `redis://HOST:PORT/DATABASE?prefix=NAME` | a Redis server, shared by all processes with the same prefix. `rediss:` for TLS | `redis`, `redis-tls` |
/// | `memory:` | the memory of this process. Each call opens a new, empty store | `memory` (default) |
///
/// In the path of a folder, `%` and two hexadecimal digits stand for a byte: `%20` for a space,
/// `%3F` for `?`, `%23` for `#` and `%25` for `%`.
///
/// # Errors
///
/// - [`Error::Invalid`] if the URL has another form, or if a setting is unknown, has no value or is
///   given twice.
/// - [`StoreError::Misconfigured`] if the path, a permission or the server's configuration must be
///   changed.
/// - [`StoreError::Unavailable`] if a later attempt may succeed, for example because another
///   process has the folder open or because the server does not answer.
pub fn open(url: &str) -> Result<Engine, Error> {
    open_with(url, Settings::default())
}

/// Opens the store that `url` names, and returns an engine over it with custom settings. See
/// [`open`].
///
/// # Errors
///
/// The errors of [`open`] and of [`Engine::with_settings`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let settings = lessor::Settings::new().retention(Duration::from_hours(24));
/// let engine = lessor::open_with("memory:", settings)?;
/// # Ok::<(), lessor::Error>(())
/// ```
pub fn open_with(url: &str, settings: Settings) -> Result<Engine, Error> {
    Engine::with_settings(open_store(url)?, settings)
}

/// Opens the store that `url` names, to be passed to [`Engine::with_settings`]. See [`open`].
///
/// # Errors
///
/// The errors of [`open`].
pub fn open_store(url: &str) -> Result<Arc<dyn Store>, Error> {
    url.parse::<StoreUrl>()?.open()
}

/// Compiles and runs the code of the README with the doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
