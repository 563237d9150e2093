//! `POST /v1/ai/forget` and `POST /v1/ai/resolve`, for operators.

use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::error::Refusal;
use crate::wire::{Acknowledged, reply};

const MAX_CODE: usize = 256;

#[derive(Serialize)]
struct Forgotten<'a> {
    ok: bool,
    status: &'static str,
    key: &'a str,
}

pub(crate) async fn forget(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let engine = &call.tenant.ai;
    let was = match fields.flag("force")? {
        Some(true) => call.write(engine.forget_forced(&key)).await?,
        _ => call.write(engine.forget(&key)).await?,
    };
    if was {
        reply(&Forgotten { ok: true, status: "forgotten", key: &key })
    } else {
        Err(Refusal::not_found())
    }
}

pub(crate) async fn resolve(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let status = fields.required("status")?;
    let code = fields.text_up_to("error_code", MAX_CODE)?;
    let request = call.tenant.ai.resolve(&key);
    let (status, ack) = match status.as_str() {
        "completed" => {
            let result = fields.json("result").unwrap_or(RawValue::NULL);
            ("completed", call.write(request.completed(result)).await?)
        }
        "failed" => {
            let code = code.ok_or_else(|| Refusal::missing("body", "error_code"))?;
            ("failed", call.write(request.failed(&code)).await?)
        }
        "released" => ("released", call.write(request.released()).await?),
        _ => {
            let message = "Input should be completed, failed or released";
            return Err(Refusal::field("body", "status", "enum", message));
        }
    };
    reply(&Acknowledged::new(status, &key, &ack).without_lateness())
}
