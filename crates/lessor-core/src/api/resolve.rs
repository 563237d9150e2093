//! An operator's verdict on a key in doubt.

use std::sync::Arc;

use serde::Serialize;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::value::json_payload;
use crate::rules::settings::failure;
use crate::rules::{Ack, Answer, Command, Resolution};
use crate::run::context::Handle;
use crate::sync::pending::Pending;

/// Says how a lapsed grant ended. Made by [`Engine::resolve`](crate::Engine::resolve).
#[derive(Debug)]
#[must_use = "say how the work ended: completed, failed or released"]
pub struct Resolve<'a> {
    engine: &'a Arc<Handle>,
    key: &'a str,
}

impl<'a> Resolve<'a> {
    pub(crate) fn new(engine: &'a Arc<Handle>, key: &'a str) -> Self {
        Self { engine, key }
    }

    /// The work was done, with this result.
    pub fn completed<T: Serialize + ?Sized>(self, result: &T) -> Pending<'static, Result<Ack, Error>> {
        let result = json_payload("result", result, self.engine.settings.max_result);
        self.to(result.map(|result| Resolution::Completed(result, None)))
    }

    /// The work failed.
    pub fn failed(self, code: &str) -> Pending<'static, Result<Ack, Error>> {
        let failure = failure(&self.engine.settings, code, None);
        self.to(failure.map(Resolution::Failed))
    }

    /// Nothing was done; the key may be acquired again.
    pub fn released(self) -> Pending<'static, Result<Ack, Error>> {
        self.to(Ok(Resolution::Released))
    }

    fn to(self, resolution: Result<Resolution, Error>) -> Pending<'static, Result<Ack, Error>> {
        match Key::new(self.key).map_err(Error::from).and_then(|key| Ok((key, resolution?))) {
            Err(error) => Pending::ready(Err(error)),
            Ok((key, resolution)) => {
                self.engine.operate(key, Command::Resolve(resolution), |outcome| match outcome? {
                    (Answer::Done(ack), _) => Ok(ack),
                    _ => Err(Error::unexpected()),
                })
            }
        }
    }
}
