//! The ways in which a holder keeps its lease, and learns that it has lost it.

use std::time::Duration;

use serde::Serialize;

use super::Lease;
use crate::data::error::Error;
use crate::rules::Ack;
use crate::sync::pending::Pending;

impl Lease {
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
}
