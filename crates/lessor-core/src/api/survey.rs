//! Surveys of the store, for alarms.

use std::sync::Arc;

use crate::api::engine::Engine;
use crate::data::error::Error;
use crate::run::observer::survey::Survey;
use crate::run::survey::survey;
use crate::sync::pending::Pending;

impl Engine {
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
