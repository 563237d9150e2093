//! [`Resolve`], with which an operator gives a key in doubt its outcome.

use std::sync::Arc;

use serde::Serialize;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::value::json_payload;
use crate::rules::settings::failure;
use crate::rules::{Ack, Answer, Command, Resolution};
use crate::run::context::Handle;
use crate::sync::pending::Pending;

/// Sets the outcome of a lapsed grant. Created by [`Engine::resolve`](crate::Engine::resolve).
///
/// # Errors
///
/// The methods return
/// - [`Error::Busy`] while the lease is live,
/// - [`Error::NotFound`] if the key has no record,
/// - [`Error::Finished`] or [`Error::Released`] if the record has an outcome already.
#[derive(Debug)]
#[must_use = "nothing happens until `completed`, `failed` or `released` is called"]
pub struct Resolve<'a> {
    engine: &'a Arc<Handle>,
    key: &'a str,
}

impl<'a> Resolve<'a> {
    pub(crate) fn new(engine: &'a Arc<Handle>, key: &'a str) -> Self {
        Self { engine, key }
    }

    /// Stores that the work was done, with this result. The result is stored as JSON of at most
    /// [`Limits::max_result`](field@crate::Limits::max_result) bytes.
    pub fn completed<T: Serialize + ?Sized>(self, result: &T) -> Pending<Result<Ack, Error>> {
        let result = json_payload("result", result, self.engine.settings.limits.max_result);
        self.to(result.map(|result| Resolution::Completed(result, None)))
    }

    /// Stores that the work failed, with this error code of 1 to 256 characters.
    pub fn failed(self, code: &str) -> Pending<Result<Ack, Error>> {
        let failure = failure(&self.engine.settings.limits, code, None);
        self.to(failure.map(Resolution::Failed))
    }

    /// Stores that the work was not done, so that the key can be acquired again.
    pub fn released(self) -> Pending<Result<Ack, Error>> {
        self.to(Ok(Resolution::Released))
    }

    fn to(self, resolution: Result<Resolution, Error>) -> Pending<Result<Ack, Error>> {
        match Key::new(self.key).map_err(Error::from).and_then(|key| Ok((key, resolution?))) {
            Err(error) => Pending::ready(Err(error)),
            Ok((key, resolution)) => {
                self.engine.execute(key, Command::Resolve(resolution), |outcome| match outcome? {
                    (Answer::Done(ack), _) => Ok(ack),
                    _ => Err(Error::unexpected()),
                })
            }
        }
    }
}
