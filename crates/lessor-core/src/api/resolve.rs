//! [`Resolve`], with which an operator gives a key its outcome.

use std::sync::Arc;

use serde::Serialize;

use crate::api::lease::handle::canceled;
use crate::data::error::Error;
use crate::data::state::State;
use crate::data::value::json_payload;
use crate::rules::settings::failure;
use crate::rules::{Ack, Answer, Command, Resolution};
use crate::run::context::Handle;
use crate::run::observer::event::{Action, Event};
use crate::sync::pending::Pending;

/// Sets the outcome of a grant. Created by [`Engine::resolve`](crate::Engine::resolve).
///
/// # Errors
///
/// The methods return
/// - [`Error::Busy`] while the lease is live, unless [`forced`](Self::forced),
/// - [`Error::NotFound`] if the key has no record,
/// - [`Error::Finished`] or [`Error::Released`] if the record has an outcome already.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Acquisition, Engine, Error};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let Acquisition::Acquired(lease) = engine.acquire("report:7").wait()? else {
///     unreachable!("the key is new");
/// };
/// engine.resolve("report:7").forced().completed("written by hand").wait()?;
/// lease.lost().wait();
/// assert!(matches!(lease.complete("too late").wait(), Err(Error::NotHolder { .. })));
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until `completed`, `failed` or `released` is called"]
pub struct Resolve<'a> {
    engine: &'a Arc<Handle>,
    key: &'a str,
    force: bool,
}

impl<'a> Resolve<'a> {
    pub(crate) fn new(engine: &'a Arc<Handle>, key: &'a str) -> Self {
        Self { engine, key, force: false }
    }

    /// Sets the outcome even while the lease is live. Its holder is superseded:
    /// [`Lease::lost`](crate::Lease::lost) resolves, at once if the holder is in this engine, and
    /// its later operations are refused with [`Error::NotHolder`]. The effects of its work are not
    /// undone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// assert!(matches!(engine.resolve("job").released().wait(), Err(Error::Busy { .. })));
    /// engine.resolve("job").forced().released().wait()?;
    /// assert!(matches!(lease.complete("done").wait(), Err(Error::NotHolder { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn forced(self) -> Self {
        Self { force: true, ..self }
    }

    /// Stores that the work was done, with this result. The result is stored as JSON of at most
    /// [`Limits::max_result`](field@crate::Limits::max_result) bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// engine.resolve("job").completed("found at the provider").wait()?;
    /// assert!(matches!(engine.acquire("job").wait()?, Acquisition::Completed(_)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn completed<T: Serialize + ?Sized>(self, result: &T) -> Pending<Result<Ack, Error>> {
        let result = json_payload("result", result, self.engine.settings.limits.max_result);
        self.to(Action::Resolved(State::Completed), result.map(|result| Resolution::Completed(result, None)))
    }

    /// Stores that the work failed, with this error code of 1 to 256 characters.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// engine.resolve("job").failed("not_sent").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_code(), Some("not_sent"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn failed(self, code: &str) -> Pending<Result<Ack, Error>> {
        self.failed_by(Action::Resolved(State::Failed), code, None)
    }

    /// Stores that the work failed, with this error code of 1 to 256 characters, and with details of
    /// at most [`Limits::max_error_detail`](field@crate::Limits::max_error_detail) bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// engine.resolve("job").failed_with("not_sent", "the provider knows no such order").wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_detail(), Some("the provider knows no such order"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn failed_with(self, code: &str, detail: &str) -> Pending<Result<Ack, Error>> {
        self.failed_by(Action::Resolved(State::Failed), code, Some(detail))
    }

    /// Stores that the work failed with the code `canceled`, or `canceled:<reason>` if the reason is
    /// not empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// engine.resolve("job").forced().canceled(Some("by user")).wait()?;
    /// let view = engine.status("job").wait()?.unwrap();
    /// assert_eq!(view.error_code(), Some("canceled:by user"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn canceled(self, reason: Option<&str>) -> Pending<Result<Ack, Error>> {
        self.failed_by(Action::Canceled, &canceled(reason), None)
    }

    fn failed_by(self, action: Action, code: &str, detail: Option<&str>) -> Pending<Result<Ack, Error>> {
        let failure = failure(&self.engine.settings.limits, code, detail);
        self.to(action, failure.map(Resolution::Failed))
    }

    /// Stores that the work was not done, so that the key can be acquired again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// # let engine = Engine::new(std::sync::Arc::new(lessor_memory::MemoryStore::new()))?;
    /// # let Acquisition::Acquired(lease) = engine.acquire("job").wait()? else { panic!() };
    /// lease.leave_in_doubt().wait()?;
    /// engine.resolve("job").released().wait()?;
    /// assert!(matches!(engine.acquire("job").wait()?, Acquisition::Acquired(_)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn released(self) -> Pending<Result<Ack, Error>> {
        self.to(Action::Resolved(State::Released), Ok(Resolution::Released))
    }

    fn to(self, action: Action, resolution: Result<Resolution, Error>) -> Pending<Result<Ack, Error>> {
        let Self { engine, force, .. } = self;
        match engine.key(self.key).map_err(Error::from).and_then(|key| Ok((key, resolution?))) {
            Err(error) => Pending::ready(Err(error)),
            Ok((key, resolution)) => {
                let (reporter, of) = (Arc::clone(engine), key.clone());
                engine.execute(key, Command::Resolve { resolution, force }, move |outcome| match outcome? {
                    (Answer::Done(ack), _) => {
                        reporter.record(&Event::Operated { key: (&of).into(), action, forced: force });
                        Ok(ack)
                    }
                    _ => Err(Error::unexpected()),
                })
            }
        }
    }
}
