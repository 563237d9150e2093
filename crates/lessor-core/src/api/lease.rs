//! A lease, held by its holder.

pub(crate) mod grant;
pub(crate) mod handle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::record::PreviousGrant;
use crate::data::time::Timestamp;
use crate::data::token::{Token, Version};
use crate::data::value::from_json;
use crate::rules::Ack;
use crate::run::context::{Handle, Work};
use crate::sync::pending::Pending;
use grant::Grant;
use handle::LeaseHandle;

/// The exclusive right to do the work of one key, for a limited time. Created by
/// [`Engine::acquire`](crate::Engine::acquire).
///
/// Do the work, then [`complete`](Self::complete) or [`fail`](Self::fail) it. Dropping a lease
/// without an outcome is handled like the death of its holder: the lease lapses, and the next
/// caller's policy decides what follows. `Drop` does not block. The engine abandons the lease in
/// the background. A lease that is dropped while its completion, failure or release is in progress
/// is abandoned only if that operation fails or is dropped.
///
/// A lease alone does not make an external side effect happen exactly once. Send
/// [`token`](Self::token) with each effect, so that its target can reject a holder that was
/// superseded.
///
/// No operation consumes the lease. If the store was unavailable, the same operation can be sent
/// again. An operation that is sent again although it has taken effect returns the same answer and
/// writes nothing.
///
/// # Errors
///
/// All operations of a holder fail with:
///
/// - [`Error::NotHolder`] if the key was granted to another holder.
/// - [`Error::Finished`] if the work has another outcome.
/// - [`Error::Released`] or [`Error::NotFound`] if the lease was released, or the record removed.
/// - [`Error::Lapsed`] for an extension or a checkpoint after the lease has lapsed.
/// - [`Error::Store`] if the store failed. The lease remains usable.
///
/// Their [`Pending`]s are cancellation safe: dropping one ends the wait, but does not undo the
/// operation.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use lessor_core::{Acquisition, Engine};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let Acquisition::Acquired(lease) = engine.acquire("invoice:42").wait()? else {
///     unreachable!("the key is new");
/// };
/// let lease = lease.keep_alive();
/// let step = lease.previous_checkpoint::<u32>()?.unwrap_or(0);
/// for step in step..3 {
///     // Do a part of the work, unless `lease.is_lost()`.
///     lease.checkpoint(&(step + 1)).wait()?;
/// }
/// let ack = lease.complete("receipt").wait()?;
/// assert!(!ack.is_late());
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[must_use = "dropping a lease abandons it immediately"]
pub struct Lease {
    handle: LeaseHandle,
    token: Token,
    is_duplicate: bool,
    /// True if dropping the lease does not abandon it.
    is_detached: bool,
}

impl Lease {
    #[inline]
    pub(crate) fn granted(
        shared: Arc<Handle>,
        (key, lease_id): (Key, LeaseId),
        ttl: Duration,
        granted: Granted,
        is_duplicate: bool,
    ) -> Self {
        let token = granted.token;
        let handle = LeaseHandle::new(shared, key, lease_id, ttl, Some(granted));
        Self { handle, token, is_duplicate, is_detached: false }
    }

    /// Returns a handle that outlives the lease. Dropping the lease still abandons it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let handle = lease.handle();
    /// let completed = std::thread::spawn(move || handle.complete("done").wait());
    /// completed.join().unwrap()?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> LeaseHandle {
        self.handle.clone()
    }

    /// Returns a handle, and leaves the lease to its bearer: nothing abandons it. Unless the bearer
    /// delivers an outcome, it lapses after its ttl. A lease that was kept alive is not renewed any
    /// more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Acquisition, Engine};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let Acquisition::Acquired(lease) = engine.acquire("invoice:42").wait()? else {
    ///     unreachable!("the key is new");
    /// };
    /// // The lease id is passed to a worker, which delivers the outcome.
    /// let lease_id = *lease.detach().lease_id();
    /// engine.lease_handle("invoice:42", lease_id)?.complete("receipt").wait()?;
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    #[must_use]
    pub fn detach(mut self) -> LeaseHandle {
        self.grant().unwatch();
        self.is_detached = true;
        self.handle()
    }

    /// Returns the key, as it was given to the engine.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.key(), "job");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> &str {
        self.handle.key()
    }

    /// Returns the lease id. It is a secret: its bearer is the holder. Pass it only to a holder.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// // Another process with the id is the same holder.
    /// let handle = engine.lease_handle("job", *lease.lease_id())?;
    /// handle.extend(Duration::from_secs(600)).wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn lease_id(&self) -> &LeaseId {
        self.handle.lease_id()
    }

    /// Returns the fencing token, which rises with each grant of the key. Send it with each effect.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// // The target keeps the highest token of each key, and refuses lower ones.
    /// let request = format!("UPDATE jobs SET token = {0} WHERE token <= {0}", lease.token());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the version of the key's record that this grant wrote.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.version().as_u64(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.grant_data().map_or(Version(1), |granted| granted.version)
    }

    /// Returns the time at which the key was acquired for the first time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(lease.first_seen_at() <= engine.now().wait()?);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn first_seen_at(&self) -> Timestamp {
        self.grant_data().map_or(Timestamp::EPOCH, |granted| granted.first_seen_at)
    }

    /// Returns the number of grants of the key's record, including this one. If it is more than 1,
    /// an earlier holder has not finished: see [`previous_grant`](Self::previous_grant).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.attempt(), 1);
    /// lease.release().wait()?;
    /// let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.attempt(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.grant_data().map_or(1, |granted| granted.attempt)
    }

    /// Returns the grant before this one, if there was one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.release().wait()?;
    /// let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.previous_grant().unwrap().ended(), GrantEnd::Released);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn previous_grant(&self) -> Option<PreviousGrant<'_>> {
        self.grant_data()?.previous_grant()
    }

    /// Returns the checkpoint of an earlier holder as a value, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if the checkpoint is not JSON of this type.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.checkpoint(&17).wait()?;
    /// lease.abandon().wait()?;
    /// let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.previous_checkpoint::<u32>()?, Some(17));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn previous_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.previous_checkpoint_bytes().map(|bytes| from_json("checkpoint", bytes)).transpose()
    }

    /// Returns the checkpoint of an earlier holder, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.checkpoint_bytes(b"page 17").wait()?;
    /// lease.abandon().wait()?;
    /// let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert_eq!(lease.previous_checkpoint_bytes(), Some(&b"page 17"[..]));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn previous_checkpoint_bytes(&self) -> Option<&[u8]> {
        self.grant_data()?.attributes()?.checkpoint.as_ref().map(|checkpoint| checkpoint.bytes())
    }

    /// Returns whether this grant was made before and its reply was lost. Only a caller that chose
    /// the lease id can send an acquire again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let id = LeaseId::random()?;
    /// let lost_reply = engine.acquire("job").lease_id(id).wait()?;
    /// let again = engine.acquire("job").lease_id(id).wait()?;
    /// assert!(matches!(&again, Acquisition::Acquired(lease) if lease.is_duplicate()));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// Returns whether the work has to stop: the lease has run out, up to a margin, or the key was
    /// taken away. False once there is an outcome.
    ///
    /// The margin is a tenth of the ttl, and at most a second. The engine notices that another
    /// process took the key away while the lease is [kept alive](Self::keep_alive) or a future
    /// waits for [`lost`](Self::lost). Otherwise it notices that with the next operation on the
    /// lease.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// for page in 1..=3 {
    ///     if lease.is_lost() {
    ///         break; // another caller may do the rest
    ///     }
    ///     println!("page {page}");
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.grant().is_lost()
    }

    /// Returns the time until the lease lapses unless it is extended, as far as this holder knows.
    /// Zero once the lease has an outcome, was released, or is known to be lost. Does not access the
    /// store.
    ///
    /// The store's clock does not reach the end of the lease earlier. Unlike
    /// [`is_lost`](Self::is_lost), the time includes the margin. It is for work that needs time to
    /// stop, such as another process, and has to begin with that before `lost` resolves.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(lease.time_left() <= engine.settings().limits.default_ttl);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.grant().time_left()
    }

    /// Resolves when the work has to stop: shortly before another caller can be granted the key, or
    /// as soon as the engine knows that the key was taken away. Never resolves after an outcome.
    ///
    /// The engine notices its own changes of the key immediately. It notices those of another
    /// process with the store's notification, and at the latest after
    /// [`Schedule::poll_every`](field@crate::Schedule::poll_every).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let lost = lease.lost();
    /// engine.cancel("job", None).wait()?;
    /// lost.wait(); // the work has to stop
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lost(&self) -> Pending<()> {
        self.grant().lost()
    }

    /// Renews the lease on a thread of the engine, until the lease is dropped or has an outcome, up
    /// to [`Limits::max_hold`](field@crate::Limits::max_hold) after the grant. If a renewal fails,
    /// [`lost`](Self::lost) resolves in time. Replaces an earlier
    /// [`keep_alive_while_progressing`](Self::keep_alive_while_progressing).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let lease = lease.keep_alive();
    /// assert_eq!(engine.stats().watched_leases, 1);
    /// lease.complete("done").wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn keep_alive(self) -> Self {
        self.grant().keep_alive(None);
        self
    }

    /// Renews the lease like [`keep_alive`](Self::keep_alive), but only while the work makes
    /// progress: if there was no [`tick`](Self::tick), checkpoint or extension for `stall_after`,
    /// renewal stops. It continues with the next progress. Without it, [`lost`](Self::lost)
    /// resolves when the lease runs out, so at most `stall_after` and the ttl after the last
    /// progress. A process that is alive but hangs so loses its lease. Replaces an earlier
    /// [`keep_alive`](Self::keep_alive).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let lease = lease.keep_alive_while_progressing(Duration::from_secs(60));
    /// for _row in 1..=3 {
    ///     lease.tick();
    /// }
    /// lease.complete("done").wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn keep_alive_while_progressing(self, stall_after: Duration) -> Self {
        self.grant().keep_alive(Some(stall_after));
        self
    }

    /// Notes that the work makes progress, for
    /// [`keep_alive_while_progressing`](Self::keep_alive_while_progressing) and
    /// [`Once::stall_after`](crate::Once::stall_after). Does not access the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let lease = lease.keep_alive_while_progressing(Duration::from_secs(60));
    /// lease.tick(); // after each row of an import
    /// # Ok::<(), Error>(())
    /// ```
    pub fn tick(&self) {
        self.handle.tick();
    }

    /// Extends the lease to at least `ttl` from now. Never shortens it.
    ///
    /// # Errors
    ///
    /// [`Error::Lapsed`] if the lease has lapsed, and [`Error::Invalid`] if `ttl` is not between 1
    /// ms and [`Limits::max_ttl`](field@crate::Limits::max_ttl).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let ack = lease.extend(Duration::from_secs(600)).wait()?;
    /// assert!(ack.expires_at() > engine.now().wait()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn extend(&self, ttl: Duration) -> Pending<Result<Ack, Error>> {
        self.handle.extend(ttl)
    }

    /// Stores a value, as JSON, for the next holder if this one dies. Replaces the previous
    /// checkpoint, and does not extend the lease.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] as for [`complete`](Self::complete), and [`Error::TooLarge`] if the JSON has
    /// more bytes than [`Limits::max_checkpoint`](field@crate::Limits::max_checkpoint).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.checkpoint(&("page", 17)).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.checkpoint::<(String, u32)>()?, Some(("page".to_owned(), 17)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn checkpoint<T: Serialize + ?Sized>(&self, value: &T) -> Pending<Result<Ack, Error>> {
        self.handle.checkpoint(value)
    }

    /// Stores bytes for the next holder if this one dies. See [`checkpoint`](Self::checkpoint).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.checkpoint_bytes(b"page 17").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.checkpoint_bytes(), Some(&b"page 17"[..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn checkpoint_bytes(&self, bytes: &[u8]) -> Pending<Result<Ack, Error>> {
        self.handle.checkpoint_bytes(bytes)
    }

    /// Completes the work with a result, which is stored as JSON and returned to all later callers.
    ///
    /// The result counts even if the lease has lapsed, unless another caller has acquired the key:
    /// see [`Ack::is_late`].
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if the JSON could not be read as the same value: floats that are not finite,
    /// `Some(None)`, and map keys that are not text. [`Error::TooLarge`] if the JSON has more bytes
    /// than [`Limits::max_result`](field@crate::Limits::max_result). Nothing is written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.complete("done").wait()?;
    /// assert!(lease.complete("done").wait()?.is_duplicate());
    /// assert!(matches!(lease.complete("something else").wait(), Err(Error::Finished { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn complete<T: Serialize + ?Sized>(&self, result: &T) -> Pending<Result<Ack, Error>> {
        self.handle.complete(result)
    }

    /// Completes the work with the bytes of a result. See [`complete`](Self::complete).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.complete_bytes(&[1, 2, 3]).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.result_bytes(), Some(&[1, 2, 3][..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn complete_bytes(&self, result: &[u8]) -> Pending<Result<Ack, Error>> {
        self.handle.complete_bytes(result)
    }

    /// Completes the work with the bytes of a result, and with a custom hash of 1 to 128
    /// characters. A completion that is sent again counts as the same if its hash is the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.complete_bytes_as(b"receipt", Some("sent 10:41")).wait()?;
    /// let again = lease.complete_bytes_as(b"receipt, printed again", Some("sent 10:41"));
    /// assert!(again.wait()?.is_duplicate());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn complete_bytes_as(&self, result: &[u8], hash: Option<&str>) -> Pending<Result<Ack, Error>> {
        self.handle.complete_bytes_as(result, hash)
    }

    /// Fails the work with an error code of 1 to 256 characters. The failure is returned to all
    /// later callers, unless their policy retries.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the code has another length or contains control characters. Nothing is
    /// written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail("declined").wait()?;
    /// let again = engine.acquire("job").wait()?;
    /// assert!(matches!(again, Acquisition::Failed(view) if view.error_code() == Some("declined")));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fail(&self, code: &str) -> Pending<Result<Ack, Error>> {
        self.handle.fail(code)
    }

    /// Fails the work with an error code, and with details of up to
    /// [`Limits::max_error_detail`](field@crate::Limits::max_error_detail) bytes. See
    /// [`fail`](Self::fail).
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail_with("declined", "the card has expired").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_detail(), Some("the card has expired"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fail_with(&self, code: &str, detail: &str) -> Pending<Result<Ack, Error>> {
        self.handle.fail_with(code, detail)
    }

    /// Fails the work with an error code, and with a value as details, which is stored as JSON.
    /// [`View::failure`](crate::View::failure) returns the value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail_as("declined", &("card", 4242)).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.failure::<(String, u32)>()?, Some(("card".to_owned(), 4242)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fail_as<T: Serialize + ?Sized>(&self, code: &str, detail: &T) -> Pending<Result<Ack, Error>> {
        self.handle.fail_as(code, detail)
    }

    /// Fails the work with an error code, but only for `retry_after`: from then on, the next caller
    /// acquires the key, whatever its [`OnFailed`](crate::OnFailed) policy. Until then, callers get
    /// the failure with [`View::retry_after`](crate::View::retry_after). If a caller's policy allows
    /// a retry as well, the earlier time counts.
    ///
    /// The wait begins when the failure is stored, and is rounded up to whole microseconds. The
    /// failure is kept for the retention, even if the wait is longer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use lessor_core::{Acquisition, Engine};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let Acquisition::Acquired(lease) = engine.acquire("import:7").wait()? else {
    ///     unreachable!("the key is new");
    /// };
    /// lease.fail_retryable("rate_limited", Duration::from_secs(2)).wait()?;
    /// let Acquisition::Failed(view) = engine.acquire("import:7").wait()? else {
    ///     unreachable!("the wait is not over");
    /// };
    /// assert_eq!(view.error_code(), Some("rate_limited"));
    /// assert!(view.retry_after() <= Some(Duration::from_secs(2)));
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`fail`](Self::fail).
    pub fn fail_retryable(&self, code: &str, retry_after: Duration) -> Pending<Result<Ack, Error>> {
        self.handle.fail_retryable(code, retry_after)
    }

    /// Fails the work with the code `canceled`, or `canceled:<reason>` if the reason is not empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.cancel(Some("by user")).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_code(), Some("canceled:by user"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self, reason: Option<&str>) -> Pending<Result<Ack, Error>> {
        self.handle.cancel(reason)
    }

    /// Releases the lease without an outcome. The next caller acquires the key immediately.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.release().wait()?; // nothing was done
    /// assert!(matches!(engine.acquire("job").wait()?, Acquisition::Acquired(_)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn release(&self) -> Pending<Result<Ack, Error>> {
        self.handle.release()
    }

    /// Abandons the lease: it lapses now, because the work may be half done and the holder is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.abandon().wait()?; // the work may be half done
    /// let next = engine.acquire("job").on_lapsed(OnLapsed::InDoubt).wait()?;
    /// assert!(matches!(next, Acquisition::InDoubt(_)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn abandon(&self) -> Pending<Result<Ack, Error>> {
        self.handle.abandon()
    }

    /// Leaves the key in doubt: the lease lapses now, and nobody acquires the key blindly, because
    /// this holder cannot know whether the work was done. Every acquire answers
    /// [`InDoubt`](crate::Acquisition::InDoubt), until an operator
    /// [resolves](crate::Engine::resolve) the key, this holder delivers an outcome after all, or a
    /// caller acquires the key with [`OnLapsed::Reconcile`](crate::OnLapsed::Reconcile).
    ///
    /// This also works after the lease has lapsed, as long as nobody else has acquired the key. The
    /// retention begins now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Acquisition, Engine};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// let Acquisition::Acquired(lease) = engine.acquire("payout:7").wait()? else {
    ///     unreachable!("the key is new");
    /// };
    /// // The connection to the bank broke after the order was sent.
    /// lease.leave_in_doubt().wait()?;
    /// let Acquisition::InDoubt(view) = engine.acquire("payout:7").wait()? else {
    ///     unreachable!("the key is in doubt");
    /// };
    /// assert!(view.is_in_doubt());
    /// engine.resolve("payout:7").completed("paid").wait()?;
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn leave_in_doubt(&self) -> Pending<Result<Ack, Error>> {
        self.handle.leave_in_doubt()
    }

    pub(super) fn complete_with(&self, result: Payload) -> Pending<Result<Ack, Error>> {
        self.handle.complete_with(result)
    }

    /// Fails the work with a failure whose parts were checked.
    pub(super) fn fail_by(&self, failure: Failure) -> Pending<Result<Ack, Error>> {
        self.handle.fail_by(failure)
    }

    pub(super) fn stored_key(&self) -> &Key {
        &self.grant().key
    }

    /// Ends the lease unless it has an outcome, as if it were dropped.
    pub(super) fn give_up(&self, work: Work) {
        self.grant().on_drop(work);
    }

    pub(super) fn engine(&self) -> &Handle {
        &self.grant().shared
    }

    fn grant(&self) -> &Arc<Grant> {
        &self.handle.0
    }

    /// Returns the grant, unless only the lease id is known.
    pub(super) fn grant_data(&self) -> Option<&Granted> {
        self.grant().granted.as_ref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_detached {
            self.give_up(Work::MayHaveBegun);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", self.stored_key())
            .field("lease_id", self.lease_id())
            .field("token", &self.token().as_u64())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
