//! `POST /v1/ai/complete`, `/v1/ai/fail`, `/v1/ai/cancel` and `/v1/ai/release`.

use axum::response::Response;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::counters::{Counted, Kind};
use crate::error::Refusal;
use crate::json::Fields;
use crate::wire::{Acknowledged, reply};

const MAX_CODE: usize = 256;
const MAX_REASON: usize = 247;
const MAX_HASH: usize = 128;

pub(crate) async fn complete(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    let hash = fields.text_up_to("result_hash", MAX_HASH)?;
    // Without a result, nothing is stored, which reads back as null.
    let result = fields.json("result").map(RawValue::get).unwrap_or_default();
    let ack = call.deliver(|| handle.complete_bytes_as(result.as_bytes(), hash.as_deref())).await?;
    if !ack.is_duplicate() {
        call.count(Kind::Ai, Counted::Completed).await;
    }
    reply(&Acknowledged::new("completed", &key, &ack))
}

pub(crate) async fn fail(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    let code = fields.text_up_to("error_code", MAX_CODE)?;
    let code = code.ok_or_else(|| Refusal::missing("body", "error_code"))?;
    let detail = detail(&fields)?;
    let ack = call
        .deliver(|| match &detail {
            Some(detail) => handle.fail_with(&code, detail),
            None => handle.fail(&code),
        })
        .await?;
    if !ack.is_duplicate() {
        call.count(Kind::Ai, Counted::Failed).await;
    }
    reply(&Acknowledged::new("failed", &key, &ack))
}

/// Returns the details of a failure: the field `detail`, or an object with the field `error_hash`,
/// or an object with both.
fn detail(fields: &Fields) -> Result<Option<String>, Refusal> {
    let hash = fields.text("error_hash")?.map(|hash| serde_json::Value::from(hash).to_string());
    Ok(match (hash, fields.json("detail").map(RawValue::get)) {
        (None, None) => None,
        (None, Some(detail)) => Some(detail.to_owned()),
        (Some(hash), None) => Some(format!("{{\"error_hash\":{hash}}}")),
        (Some(hash), Some(detail)) => Some(format!("{{\"error_hash\":{hash},\"detail\":{detail}}}")),
    })
}

pub(crate) async fn cancel(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    // An empty reason is none.
    let reason = fields.text("reason")?.filter(|reason| !reason.is_empty());
    if reason.as_deref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        let message = format!("String should have at most {MAX_REASON} characters");
        return Err(Refusal::field("body", "reason", "string_too_long", message));
    }
    let ack =
        call.deliver(|| handle.cancel(reason.as_deref())).await.map_err(|refusal| refusal.about("reason"))?;
    if !ack.is_duplicate() {
        call.count(Kind::Ai, Counted::Failed).await;
    }
    reply(&Acknowledged::new("failed", &key, &ack))
}

pub(crate) async fn release(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    let ack = call.deliver(|| handle.release()).await?;
    reply(&Acknowledged::new("released", &key, &ack))
}
