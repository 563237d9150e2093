//! The parts of a view: the result or the failure, the labels, and the history.

use serde::de::DeserializeOwned;

use super::View;
use crate::data::error::Error;
use crate::data::history::{EndedBy, GrantHistory, HistoryEntry, HistoryKind};
use crate::data::inline::Inline;
use crate::data::past::grants;
use crate::data::payload::{Payload, result_hash};
use crate::data::record::token;
use crate::data::state::State;
use crate::data::trace::{Ending, Trace};
use crate::data::value::from_json;

impl View {
    /// Returns the holder's own hash of the result, or else the result's SHA-256 in hex. `None`
    /// unless completed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.complete_bytes_as(b"receipt", Some("sent 10:41")).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.result_hash().as_deref(), Some("sent 10:41"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn result_hash(&self) -> Option<String> {
        let own = self.extra(|attributes| attributes.result_hash.as_deref());
        self.result_bytes().map(|result| result_hash(result, own))
    }

    /// Returns the error code of the failed work. `None` unless failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail("declined").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_code(), Some("declined"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.extra(|attributes| attributes.failure.as_ref()).map(|failure| &*failure.code)
    }

    /// Returns the details of the failure, if there are any. They may contain confidential data, so
    /// do not log them.
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
    #[must_use]
    pub fn error_detail(&self) -> Option<&str> {
        self.extra(|attributes| attributes.failure.as_ref()).and_then(|failure| failure.detail.as_deref())
    }

    /// Returns the details of the failure as the value that was passed to
    /// [`fail_as`](crate::Lease::fail_as). `None` if there are no details.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if the details are not JSON of this type.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.fail_as("declined", &4242).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.failure::<u32>()?, Some(4242));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn failure<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.error_detail().map(|json| from_json("error detail", json.as_bytes())).transpose()
    }

    /// Returns the label of the last holder, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("job").holder("host-3").wait()?;
    /// assert_eq!(engine.status("job").wait()?.unwrap().holder(), Some("host-3"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.extra(|attributes| attributes.holder.as_deref())
    }

    /// Returns the metadata as the stored JSON text, if there is any.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let _lease = engine.acquire("job").metadata_json(r#"{"ticket":42}"#).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.metadata_json(), Some(r#"{"ticket":42}"#));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn metadata_json(&self) -> Option<&str> {
        self.extra(|attributes| attributes.metadata.as_deref())
    }

    /// Returns the metadata as a value. `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if the metadata is not JSON of this type.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// use std::collections::BTreeMap;
    ///
    /// let _lease = engine.acquire("job").metadata_json(r#"{"ticket":42}"#).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// let metadata = view.metadata::<BTreeMap<String, u32>>()?.unwrap();
    /// assert_eq!(metadata["ticket"], 42);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.metadata_json().map(|json| from_json("metadata", json.as_bytes())).transpose()
    }

    /// Returns the bytes of the result. `None` unless completed.
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
    #[must_use]
    pub fn result_bytes(&self) -> Option<&[u8]> {
        let long = || self.extra(|attributes| attributes.long_result.as_deref()).map(Payload::bytes);
        self.inline.as_ref().and_then(|inline| inline.result()).or_else(long)
    }

    /// Returns what happened to the record lately, in the order of time. The last grant has an entry
    /// each for its beginning, its renewals, its checkpoints and its end. As much of earlier grants
    /// is kept as [`Limits::max_history`](field@crate::Limits::max_history) allows.
    ///
    /// The history is written with the changes that it tells of. A release that does not know it
    /// keeps it, and adds nothing. A key that was forgotten has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use lessor_core::{Acquisition, Engine, HistoryKind};
    /// use lessor_memory::MemoryStore;
    ///
    /// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
    /// for _ in 0..2 {
    ///     let Acquisition::Acquired(lease) = engine.acquire("invoice:42").wait()? else {
    ///         unreachable!("nobody has the lease");
    ///     };
    ///     lease.release().wait()?;
    /// }
    /// let view = engine.status("invoice:42").wait()?.expect("the key has a record");
    /// let kinds: Vec<HistoryKind> = view.history().iter().map(|entry| entry.kind()).collect();
    /// let both = [HistoryKind::Granted, HistoryKind::Released];
    /// assert_eq!(kinds, [both, both].concat());
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        let stored = self.extra(|attributes| attributes.history.as_deref());
        let past = stored.map(|stored| &*stored.past).unwrap_or_default();
        for grant in grants(past, self.first_seen_at).filter_map(Result::ok) {
            grant.list(&mut entries);
        }
        let trace = match self.state {
            State::Completed => stored.and_then(|stored| stored.trace.as_ref()),
            _ => self.inline.as_deref().and_then(Inline::trace),
        };
        if let Some(former) = trace.and_then(Trace::former) {
            let label = self.extra(|attributes| attributes.previous_holder.as_deref());
            let label = label.filter(|_| former.precedes(self.attempt));
            if let Some(grant) = former.history(label) {
                grant.list(&mut entries);
            }
        }
        self.last_grant(trace.filter(|trace| trace.attempt() == self.attempt)).list(&mut entries);
        entries
    }

    fn last_grant(&self, trace: Option<&Trace>) -> GrantHistory<'_> {
        let ending = trace.map_or(Ending::NONE, Trace::ending);
        let lapse = match ending.how() {
            _ if self.state != State::Lapsed => None,
            _ if self.is_in_doubt() => Some(HistoryKind::LeftInDoubt),
            Ending::ABANDONED => Some(HistoryKind::Abandoned),
            _ => Some(HistoryKind::Lapsed),
        };
        let outcome = match self.state {
            State::Completed => Some(HistoryKind::Completed),
            State::Failed => Some(HistoryKind::Failed),
            State::Released => Some(HistoryKind::Released),
            State::InProgress | State::Lapsed => None,
        };
        GrantHistory {
            attempt: self.attempt,
            token: token(self.acquired_at, self.token_lead, self.attributes.as_deref()),
            granted_at: self.acquired_at,
            holder: self.holder(),
            renewals: trace.and_then(Trace::renewals),
            checkpoints: trace.and_then(Trace::checkpoints),
            lapse: lapse.map(|kind| (kind, self.ended_at)),
            outcome: outcome.map(|kind| (kind, self.ended_at, EndedBy::of(ending))),
        }
    }

    /// Returns the result as the value that was stored.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] unless the work is completed, and [`Error::Json`] if the result is not
    /// JSON of this type.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.complete(&("charged", 4200)).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.result::<(String, u32)>()?, ("charged".to_owned(), 4200));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let bytes = self.result_bytes().ok_or_else(|| {
            Error::invalid("view", format!("there is no result, the work is {}", self.state))
        })?;
        from_json("result", bytes)
    }

    /// Returns the latest checkpoint as the value that was stored. `None` if there is none. A
    /// completion removes it.
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
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.checkpoint::<u32>()?, Some(17));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.checkpoint_bytes().map(|bytes| from_json("checkpoint", bytes)).transpose()
    }

    /// Returns the bytes of the latest checkpoint. `None` if there is none.
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
    #[must_use]
    pub fn checkpoint_bytes(&self) -> Option<&[u8]> {
        self.extra(|attributes| attributes.checkpoint.as_deref()).map(Payload::bytes)
    }
}
