//! `POST /v1/ai/extend` and `POST /v1/ai/checkpoint`.

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::call::Call;
use crate::error::Refusal;
use crate::wire::{Acknowledged, reply};

pub(crate) async fn extend(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    let ttl = match fields.seconds("ttl")? {
        Some(ttl) => ttl,
        None => {
            let seen = call.read(call.tenant.ai.status(&key)).await?;
            let last = seen.and_then(|view| view.last_ttl()).filter(|ttl| !ttl.is_zero());
            let limits = call.tenant.limits();
            last.unwrap_or(limits.default_ttl).min(limits.max_ttl)
        }
    };
    let ack = call.write(handle.extend(ttl)).await?;
    // The lease ends at the time that was asked for, unless it ended later before.
    let left = ack.expires_at().saturating_since(call.now().await?);
    reply(&Acknowledged::new("extended", &key, &ack).ttl(left.max(ttl)))
}

pub(crate) async fn checkpoint(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let handle = call.handle(&key, &fields)?;
    let bytes = BASE64_STANDARD.decode(fields.required("checkpoint")?).map_err(|_| {
        Refusal::field("body", "checkpoint", "value_error", "Input should be base64 with padding")
    })?;
    let ack = call.write(handle.checkpoint_bytes(&bytes)).await?;
    reply(&Acknowledged::new("checkpointed", &key, &ack))
}
