//! *lessor* runs a piece of work exactly once and replays its outcome to every later caller.
//!
//! Work is guarded by a key. The first caller acquires a lease with a ttl and does the work; others see it in
//! progress and can wait; the holder extends the lease while it works and completes it with a result, or fails it, and every
//! later caller gets that outcome for days. A holder that dies loses the lease in time.
//!
//! ```
//! let engine = lessor::open("memory:")?;
//!
//! let charge = || Ok::<_, String>("receipt 1".to_owned());
//! let first = engine.once("invoice:42").run(|_lease| charge()).unwrap();
//! let again = engine.once("invoice:42").run(|_lease| -> Result<String, String> { unreachable!() }).unwrap();
//!
//! assert!(!first.is_replay() && again.is_replay());
//! assert_eq!(again.into_value(), "receipt 1");
//! # Ok::<(), lessor::Error>(())
//! ```
//!
//! Or step by step:
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
//!     Acquisition::InProgress(view) => println!("somebody is at it for another {:?}", view.ttl_left()),
//!     Acquisition::Completed(view) => println!("done before: {}", view.result::<String>()?),
//!     Acquisition::Failed(view) => println!("failed before: {:?}", view.error_code()),
//!     Acquisition::InDoubt(_) => println!("a former holder vanished: look, then resolve"),
//! }
//! # Ok::<(), lessor::Error>(())
//! ```
//!
//! Every operation returns a [`Pending`]: `.wait()` for it on a thread or `.await` it under any executor.
//!
//! # What it cannot do
//! No lease makes a side effect in the outside world exactly-once by itself: a holder can die between the effect
//! and its completion, and whoever takes over does not know. Three things close the gap: a sink that refuses stale
//! [tokens](Lease::token), a sink that is idempotent itself, or a completion written in the same transaction as the effect.
//! [`OnLapsed::InDoubt`] turns "at least once" into "at most once" where none of them is at hand.

mod url;

use std::sync::Arc;

pub use lessor_core::*;

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

/// Opens an engine over the store that `url` names, with the default settings.
///
/// Fails with [`Error::Invalid`] if the URL is none of these, with [`StoreError::Misconfigured`] if the path, a permission or the server's
/// configuration has to be changed first, and with [`StoreError::Unavailable`] if a later try may succeed, such as where another process has
/// the folder open or the server does not answer.
///
/// | URL | store | needs the feature |
/// |---|---|---|
/// | `file:FOLDER` | an append-only log in that folder, which is made if its parent exists; one process at a time | `file` (default) |
/// | `file:FOLDER?sync=process` | the same, not synced before each answer: see [`file::SyncMode`] | `file` (default) |
/// | `redis://HOST:PORT/DATABASE?prefix=NAME` | on a Redis server, for all who use the same prefix; `rediss:` for TLS | `redis`, `redis-tls` |
/// | `memory:` | in this process's memory, gone with it; each call opens one of its own | `memory` (default) |
///
/// In a folder's path, `%` and two hexadecimal digits stand for a byte, as in every URL: `%20` for a blank, `%3F` for `?`, `%23` for `#` and `%25` for
/// `%`. A setting that is unknown, has no value or is given twice is refused with [`Error::Invalid`], and nothing is opened.
pub fn open(url: &str) -> Result<Engine, Error> {
    open_with(url, Settings::default())
}

/// The same as [`open`], with settings of the caller's.
///
/// ```
/// use std::time::Duration;
///
/// let mut settings = lessor::Settings::default();
/// settings.retention = Duration::from_hours(24);
/// let engine = lessor::open_with("memory:", settings)?;
/// # Ok::<(), lessor::Error>(())
/// ```
pub fn open_with(url: &str, settings: Settings) -> Result<Engine, Error> {
    Engine::with_settings(open_store(url)?, settings)
}

/// Opens the store that `url` names, for [`Engine::with_settings`]. See [`open`].
pub fn open_store(url: &str) -> Result<Arc<dyn Store>, Error> {
    url::check(url)?;
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match (scheme, rest) {
        #[cfg(feature = "file")]
        ("file", _) => {
            let url::FileUrl { folder, settings } = url::parse(rest)?;
            Ok(Arc::new(FileStore::builder().settings(settings).open(folder)?))
        }
        #[cfg(feature = "memory")]
        ("memory", "") => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "memory")]
        ("memory", _) => Err(url::invalid("the in-memory store takes no arguments; write `memory:`")),
        #[cfg(feature = "redis")]
        ("redis" | "rediss" | "redis+cluster" | "rediss+cluster", _) => Ok(Arc::new(RedisStore::open(url)?)),
        // The rest of the URL may hold a password, so it is not repeated.
        _ => Err(url::invalid(format!("there is no store for the scheme {scheme:?}; known are: {KNOWN}"))),
    }
}

const KNOWN: &str = match (cfg!(feature = "memory"), cfg!(feature = "file"), cfg!(feature = "redis")) {
    (true, true, true) => "file:FOLDER, redis://HOST and memory:",
    (true, true, false) => "file:FOLDER and memory:, and with the feature `redis` also redis://HOST",
    (true, false, true) => "redis://HOST and memory:",
    (false, true, true) => "file:FOLDER and redis://HOST",
    (true, false, false) => "memory:",
    (false, true, false) => "file:FOLDER",
    (false, false, true) => "redis://HOST",
    (false, false, false) => "none, since no store's feature is enabled",
};

/// The README's code is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
