//! The functions that a caller supplies for the types of its work.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Codec;
use super::failure_class::FailureClass;
use super::outcome::{Details, OnceError, Outcome};
use super::reconcile::Look;
use crate::data::error::Error;
use crate::data::payload::Payload;
use crate::data::value::{json_payload_that_reads_back, payload};
use crate::data::view::View;

pub(super) type Classify<E> = Box<dyn Fn(&E) -> FailureClass + Send>;

pub(super) struct Hooks<T, E> {
    pub(super) classify: Option<Classify<E>>,
    pub(super) reconcile: Option<Look<T>>,
    /// `None` for JSON.
    pub(super) codec: Option<Arc<dyn Codec<T>>>,
}

impl<T, E> Default for Hooks<T, E> {
    fn default() -> Self {
        Self { classify: None, reconcile: None, codec: None }
    }
}

impl<T: Serialize + DeserializeOwned, E> Hooks<T, E> {
    pub(super) fn class(&self, error: &E) -> FailureClass {
        self.classify.as_ref().map_or(FailureClass::keep(), |classify| classify(error))
    }

    /// Returns the bytes of a result. Refuses a value that cannot be read from them.
    pub(super) fn encode(&self, value: &T, limit: usize) -> Result<Payload, Error> {
        let Some(codec) = &self.codec else { return json_payload_that_reads_back("result", value, limit) };
        let payload = payload("result", &codec.encode(value)?, limit)?;
        codec.decode(payload.bytes())?;
        Ok(payload)
    }

    /// Returns the stored result.
    pub(super) fn replay(&self, view: &View, waited: bool) -> Result<Outcome<T>, OnceError<T, E>> {
        let value = match (&self.codec, view.result_bytes()) {
            (Some(codec), Some(bytes)) => codec.decode(bytes)?,
            _ => view.result()?,
        };
        let details = Details { replayed: true, waited, attempt: view.attempt(), ..Details::default() };
        Ok(Outcome { value, details })
    }
}
