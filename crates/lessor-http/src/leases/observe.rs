//! `GET /v1/ai/status` and `GET /v1/ai/result`.

use axum::response::Response;
use lessor_core::View;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::error::Refusal;
use crate::time::text;
use crate::wire::{Shown, Standing, raw, reply};

/// The maximum time of a long poll, in seconds.
const MAX_WAIT: u64 = 30;

pub(crate) async fn status(call: &Call) -> Result<Response, Refusal> {
    let query = call.query()?;
    let key = query.key()?;
    let wait = query.seconds("wait", MAX_WAIT)?.unwrap_or_default();
    let mut view = seen(call, key).await?;
    if !wait.is_zero() && !view.is_finished() {
        let change = call.tenant.ai.wait_for_change(key, &view, wait);
        view = call.read_within(wait, change).await?.ok_or_else(Refusal::not_found)?;
    }
    reply(&Shown::reply(key, &view, call.tenant.doubts()))
}

#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    status: &'static str,
    key: &'a str,
    result: Option<&'a RawValue>,
    result_hash: Option<String>,
    error_code: Option<String>,
    done_at: Option<String>,
}

pub(crate) async fn result(call: &Call) -> Result<Response, Refusal> {
    let query = call.query()?;
    let key = query.key()?;
    let view = seen(call, key).await?;
    let standing = Standing::of(&view, call.tenant.doubts());
    reply(&Outcome {
        ok: true,
        status: standing.status,
        key,
        result: raw(view.result_bytes()),
        result_hash: view.result_hash(),
        error_code: standing.error_code,
        done_at: view.done_at().map(text),
    })
}

async fn seen(call: &Call, key: &str) -> Result<View, Refusal> {
    call.read(call.tenant.ai.status(key)).await?.ok_or_else(Refusal::not_found)
}
