//! Callers' values on their way into a record.

use std::cell::RefCell;

use serde::Serialize;

use crate::error::Error;
use crate::record::{Failure, Payload};
use crate::settings::{Settings, check_error_code};

/// A scratch buffer that grew beyond this is not kept.
const KEEP: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `value` as JSON. It is written to a buffer that the thread keeps, so that only the result itself is allocated.
pub(crate) fn json_payload<T: Serialize + ?Sized>(
    what: &'static str,
    value: &T,
    limit: usize,
) -> Result<Payload, Error> {
    // Taken, not borrowed: the value's own serialization may come here again.
    let mut buffer = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    let written = serde_json::to_writer(&mut buffer, value)
        .map_err(|error| Error::json(what, &error))
        .and_then(|()| payload(what, &buffer, limit));
    if buffer.capacity() <= KEEP {
        buffer.clear();
        // A thread that is being torn down has no scratch buffer any more, and needs none.
        let _ = SCRATCH.try_with(|scratch| scratch.replace(buffer));
    }
    written
}

pub(crate) fn payload(what: &'static str, bytes: &[u8], limit: usize) -> Result<Payload, Error> {
    match bytes.len() {
        size if size > limit => Err(Error::TooLarge { what, size, limit }),
        _ => Ok(Payload::new(bytes)),
    }
}

pub(crate) fn failure(settings: &Settings, code: &str, detail: Option<&str>) -> Result<Failure, Error> {
    let code = check_error_code(code)?;
    let detail = detail.map(|detail| settings.check_detail(detail)).transpose()?;
    Ok(Failure { code, detail })
}
