//! The ways in which a holder ends its lease.

use std::time::Duration;

use serde::Serialize;

use super::Lease;
use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::payload::Payload;
use crate::rules::Ack;
use crate::sync::pending::Pending;

impl Lease {
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

    pub(in crate::api) fn complete_with(&self, result: Payload) -> Pending<Result<Ack, Error>> {
        self.handle.complete_with(result)
    }

    /// Fails the work with a failure whose parts were checked.
    pub(in crate::api) fn fail_by(&self, failure: Failure) -> Pending<Result<Ack, Error>> {
        self.handle.fail_by(failure)
    }
}
