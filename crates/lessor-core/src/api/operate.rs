//! What observers and operators do with the keys of an engine.

use std::sync::Arc;

use crate::api::engine::Engine;
use crate::api::explain::Explanation;
use crate::api::list::ListRequest;
use crate::api::resolve::Resolve;
use crate::data::error::Error;
use crate::data::key::Key;
use crate::rules::{Ack, Answer, Command};
use crate::run::observer::event::{Action, Event};
use crate::run::observer::survey::Survey;
use crate::run::survey::survey;
use crate::run::tasks::purge_slice;
use crate::sync::pending::Pending;

impl Engine {
    /// Returns a request to list keys and their states, by prefix and by state.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// for (key, view) in engine.list().wait()?.entries {
    ///     println!("{key} is {}", view.state());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn list(&self) -> ListRequest<'_> {
        ListRequest::new(self.handle())
    }

    /// Returns the reasons for the state of the key: since when it has it, why the work ran, why it
    /// ran more than once, and what the key waits for. `Display` of the result tells it in
    /// sentences.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if `key` is not a valid key, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// let explanation = engine.explain("job").wait()?;
    /// assert!(explanation.to_string().contains("The work ran once"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn explain(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<Result<Explanation, Error>> {
        match Key::new(key.as_ref()) {
            Ok(key) => self.status(&key).map(|view| Ok(Explanation::new(key, view?.as_ref()))),
            Err(error) => Pending::ready(Err(error.into())),
        }
    }

    /// Removes the key's record, so that the next acquire is the first one. Returns whether there
    /// was a record.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while the key has a live lease, [`Error::Key`] if `key` is not a valid key,
    /// or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(matches!(engine.forget("job").wait(), Err(Error::Busy { .. })));
    /// lease.complete("done").wait()?;
    /// assert!(engine.forget("job").wait()?);
    /// assert!(engine.status("job").wait()?.is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn forget(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<Result<bool, Error>> {
        self.forget_as(key.as_ref(), false)
    }

    /// Removes the key's record, even if it has a live lease. The holder's later operations are
    /// refused. Returns whether there was a record.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if `key` is not a valid key, or an error of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(engine.forget_forced("job").wait()?);
    /// assert!(lease.complete("too late").wait().is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn forget_forced(&self, key: &(impl AsRef<str> + ?Sized)) -> Pending<Result<bool, Error>> {
        self.forget_as(key.as_ref(), true)
    }

    fn forget_as(&self, key: &str, force: bool) -> Pending<Result<bool, Error>> {
        match self.handle().key(key) {
            Ok(key) => {
                let (engine, of) = (Arc::clone(self.handle()), key.clone());
                self.handle().execute(key, Command::Forget { force }, move |outcome| match outcome? {
                    (Answer::Forgotten(was), _) => {
                        if was {
                            let (key, action) = ((&of).into(), Action::Forgotten);
                            engine.record(&Event::Operated { key, action, forced: force });
                        }
                        Ok(was)
                    }
                    _ => Err(Error::unexpected()),
                })
            }
            Err(error) => Pending::ready(Err(error.into())),
        }
    }

    /// Returns a request to set the outcome of a key whose lease has lapsed, as an operator does
    /// for a key in doubt. With [`Resolve::forced`], also of a key whose lease is live.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// // An operator has found out that the work was done.
    /// engine.resolve("job").completed("done").wait()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn resolve<'a>(&'a self, key: &'a (impl AsRef<str> + ?Sized)) -> Resolve<'a> {
        Resolve::new(self.handle(), key.as_ref())
    }

    /// Cancels the work of the key, even if its lease is live: it fails with the code `canceled`, or
    /// `canceled:<reason>` if the reason is not empty. The holder is superseded, as with
    /// [`Resolve::forced`].
    ///
    /// # Errors
    ///
    /// Those of [`Resolve`], and [`Error::Invalid`] if the code has more than 256 characters or
    /// contains control characters.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// engine.cancel("job", Some("by user")).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_code(), Some("canceled:by user"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(
        &self,
        key: &(impl AsRef<str> + ?Sized),
        reason: Option<&str>,
    ) -> Pending<Result<Ack, Error>> {
        self.resolve(key).forced().canceled(reason)
    }

    /// Removes up to `limit` records whose retention has ended, and returns their number. The
    /// engine does this itself every [`Schedule::purge_every`](field@crate::Schedule::purge_every).
    ///
    /// # Errors
    ///
    /// An error of the store. Some records may have been removed.
    ///
    /// # Cancellation safety
    ///
    /// If the `Pending` is dropped, the remaining records are left.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// let mut removed = 0;
    /// while let more @ 1.. = engine.purge(1000).wait()? {
    ///     removed += more;
    /// }
    /// assert_eq!(removed, 0, "no retention has ended");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn purge(&self, limit: usize) -> Pending<Result<usize, Error>> {
        let shared = Arc::clone(&self.shared);
        Pending::later(async move {
            let mut dropped = 0;
            while dropped < limit {
                let purged = purge_slice(&shared, limit - dropped).await?;
                dropped += purged.dropped;
                if !purged.more {
                    break;
                }
            }
            Ok(dropped)
        })
    }

    /// Reads the whole store, and returns the number and the age of the keys whose last lease has
    /// ended without an outcome. For an alarm, the engine can do this itself: see
    /// [`Schedule::survey_every`](field@crate::Schedule::survey_every).
    ///
    /// An engine of a namespace reads the namespace, and any other engine the store with all of its
    /// namespaces. The duration is proportional to the number of records. [`list`](Self::list) with
    /// [`State::Lapsed`](crate::State::Lapsed) returns the keys.
    ///
    /// # Errors
    ///
    /// An error of the store.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the [`Pending`] ends the reading.
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
    /// lease.leave_in_doubt().wait()?;
    /// let survey = engine.survey().wait()?;
    /// assert_eq!((survey.in_doubt.keys, survey.lapsed.keys), (1, 0));
    /// # Ok::<(), lessor_core::Error>(())
    /// ```
    pub fn survey(&self) -> Pending<Result<Survey, Error>> {
        let prefix = self.handle().namespace.as_ref().map(|namespace| namespace.space.text(""));
        let reading = survey(Arc::clone(&self.shared), prefix.unwrap_or_default());
        Pending::later(async move { Ok(reading.await?) })
    }
}
