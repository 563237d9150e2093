//! A lease, held by its holder.

pub(crate) mod grant;
pub(crate) mod handle;
mod keeping;
mod outcome;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::data::error::Error;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::PreviousGrant;
use crate::data::time::Timestamp;
use crate::data::token::{Token, Version};
use crate::data::value::from_json;
use crate::run::context::{Handle, Work};
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
/// Their [`Pending`](crate::Pending)s are cancellation safe: dropping one ends the wait, but does
/// not undo the operation.
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
