//! Converts callers' values to the JSON that a record stores.

mod strict;

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::data::error::Error;
use crate::data::payload::Payload;
use strict::Strict;

/// The maximum capacity of a scratch buffer that is kept, in bytes.
const MAX_KEPT: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes `value` as JSON and passes it to `take`. The JSON is in a buffer that the thread reuses,
/// so that only the result of `take` is allocated.
fn json<T: Serialize + ?Sized, U>(
    what: &'static str,
    value: &T,
    take: impl FnOnce(&[u8]) -> Result<U, Error>,
) -> Result<U, Error> {
    // Taken rather than borrowed, because the value's `Serialize` may call this function again.
    let mut buffer = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    let written = value
        .serialize(Strict::new(&mut serde_json::Serializer::new(&mut buffer)))
        .map_err(|error| unfit(what, &error))
        .and_then(|()| take(&buffer));
    if buffer.capacity() <= MAX_KEPT {
        buffer.clear();
        // A thread that is being torn down has no scratch buffer any more.
        let _ = SCRATCH.try_with(|scratch| scratch.replace(buffer));
    }
    written
}

/// Returns the value of stored JSON.
pub(crate) fn from_json<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| Error::json(what, &error))
}

pub(crate) fn json_bytes<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<Vec<u8>, Error> {
    json(what, value, |bytes| Ok(bytes.to_vec()))
}

pub(crate) fn json_payload<T: Serialize + ?Sized>(
    what: &'static str,
    value: &T,
    limit: usize,
) -> Result<Payload, Error> {
    json(what, value, |bytes| payload(what, bytes, limit))
}

/// Returns `value` as JSON. Refuses a value whose JSON cannot be read as its type.
pub(crate) fn json_payload_that_reads_back<T: Serialize + DeserializeOwned>(
    what: &'static str,
    value: &T,
    limit: usize,
) -> Result<Payload, Error> {
    json(what, value, |bytes| {
        let payload = payload(what, bytes, limit)?;
        check_that_it_reads_back::<T>(what, bytes).map(|()| payload)
    })
}

/// Returns `value` as JSON text. Refuses a value whose JSON cannot be read as its type.
pub(crate) fn json_text_that_reads_back<T: Serialize + DeserializeOwned>(
    what: &'static str,
    value: &T,
    limit: usize,
) -> Result<String, Error> {
    json(what, value, |bytes| {
        check_size(what, bytes.len(), limit)?;
        check_that_it_reads_back::<T>(what, bytes)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    })
}

fn check_that_it_reads_back<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<(), Error> {
    const REASON: &str = "its JSON cannot be read as its type; make its Serialize and Deserialize agree";
    match serde_json::from_slice::<T>(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::unconverted(what, REASON, Some(&error))),
    }
}

pub(crate) fn json_text<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, Error> {
    json(what, value, |bytes| Ok(String::from_utf8_lossy(bytes).into_owned()))
}

pub(crate) fn json_value<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<Value, Error> {
    value.serialize(Strict::new(serde_json::value::Serializer)).map_err(|error| unfit(what, &error))
}

fn unfit(what: &'static str, error: &serde_json::Error) -> Error {
    Error::unconverted(what, strict::reason(error), None)
}

pub(crate) fn payload(what: &'static str, bytes: &[u8], limit: usize) -> Result<Payload, Error> {
    check_size(what, bytes.len(), limit).map(|()| Payload::new(bytes))
}

/// Refuses a value that has more bytes than the limit.
pub(crate) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
