//! The form of replies.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use lessor_core::{Ack, Lease, State, View};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::time::{seconds, text};

/// The code of a key in doubt.
pub(crate) const IN_DOUBT: &str = "in_doubt";
/// The `retry_after_sec` of a key that nobody holds.
const FREE_RETRY: u64 = 1;
const MAX_RETRY: u64 = 5;

/// Returns a reply with this body.
pub(crate) fn reply(body: &impl Serialize) -> Result<Response, Refusal> {
    reply_with(StatusCode::OK, body)
}

pub(crate) fn reply_with(status: StatusCode, body: &impl Serialize) -> Result<Response, Refusal> {
    // Only a stored text that is no JSON cannot be written.
    let body =
        serde_json::to_vec(body).map_err(|_| Refusal::code(StatusCode::INTERNAL_SERVER_ERROR, "corrupt"))?;
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The fields that describe a record to an observer. There is no lease id among them.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    #[serde(skip)]
    pub(crate) status: &'static str,
    ttl_left: Option<u64>,
    /// Only the reply that grants a lease has its id.
    lease_id: Option<String>,
    version: u64,
    first_seen_at: String,
    done_at: Option<String>,
    result_hash: Option<String>,
    pub(crate) error_code: Option<String>,
    retry_after_sec: Option<u64>,
}

impl Standing {
    /// Returns the fields of a grant.
    pub(crate) fn granted(lease: &Lease) -> Self {
        Self {
            status: "acquired",
            ttl_left: None,
            lease_id: Some(lease.lease_id().reveal()),
            version: lease.version().as_u64(),
            first_seen_at: text(lease.first_seen_at()),
            done_at: None,
            result_hash: None,
            error_code: None,
            retry_after_sec: None,
        }
    }

    /// Returns the fields of a record. A lapsed one is shown as in doubt if `doubts`.
    pub(crate) fn of(view: &View, doubts: bool) -> Self {
        let in_doubt = doubts && view.state() == State::Lapsed;
        let (status, ttl_left, retry_after_sec) = match view.state() {
            State::InProgress => {
                let left = view.ttl_left().map_or(1, seconds);
                ("in_progress", Some(left), Some(view.retry_after().map_or(FREE_RETRY, retry)))
            }
            State::Lapsed if in_doubt => ("failed", Some(0), None),
            State::Lapsed => ("expired", Some(0), Some(FREE_RETRY)),
            State::Completed => ("completed", None, None),
            State::Failed => ("failed", None, view.retry_after().map(retry)),
            // A state of a later release is one that nobody holds.
            _ => ("released", None, Some(FREE_RETRY)),
        };
        let error_code = if in_doubt { Some(IN_DOUBT) } else { view.error_code() };
        Self {
            status,
            ttl_left,
            lease_id: None,
            version: view.version().as_u64(),
            first_seen_at: text(view.first_seen_at()),
            done_at: view.done_at().map(text),
            result_hash: view.result_hash(),
            error_code: error_code.map(str::to_owned),
            retry_after_sec,
        }
    }
}

fn retry(after: Duration) -> u64 {
    seconds(after).clamp(1, MAX_RETRY)
}

/// The reply about the state of a key.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    status: &'static str,
    key: &'a str,
    #[serde(flatten)]
    standing: Standing,
    attempt: u32,
    holder: Option<&'a str>,
    metadata: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    pub(crate) fn reply(key: &'a str, view: &'a View, doubts: bool) -> Self {
        Self { ok: Some(true), ..Self::item(key, view, doubts) }
    }

    /// Returns the entry of a list.
    pub(crate) fn item(key: &'a str, view: &'a View, doubts: bool) -> Self {
        let standing = Standing::of(view, doubts);
        Self {
            ok: None,
            status: standing.status,
            key,
            standing,
            attempt: view.attempt(),
            holder: view.holder(),
            metadata: raw(view.metadata_json().map(str::as_bytes)),
        }
    }
}

/// Returns stored JSON as it is. Anything that is no JSON counts as absent.
pub(crate) fn raw(json: Option<&[u8]>) -> Option<&RawValue> {
    serde_json::from_slice(json?).ok()
}

/// The reply to an operation of a holder or an operator.
#[derive(Serialize)]
pub(crate) struct Acknowledged<'a> {
    ok: bool,
    status: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    version: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
}

impl<'a> Acknowledged<'a> {
    pub(crate) fn new(status: &'static str, key: &'a str, ack: &Ack) -> Self {
        Self { ok: true, status, key, ttl: None, version: ack.version().as_u64(), late: ack.is_late() }
    }

    /// Leaves out that the outcome came late. For operators, who resolve what has lapsed.
    pub(crate) fn without_lateness(self) -> Self {
        Self { late: false, ..self }
    }

    pub(crate) fn ttl(self, left: Duration) -> Self {
        Self { ttl: Some(seconds(left)), ..self }
    }
}
