//! `POST /v1/ai/lease`.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lessor_core::{AcquireRequest, Acquisition, Backoff, Fingerprint, GrantEnd, Lease, OnFailed, OnLapsed};
use serde::Serialize;

use crate::call::Call;
use crate::config::bytes_of_hex;
use crate::counters::{Counted, Kind};
use crate::error::Refusal;
use crate::json::Fields;
use crate::time::seconds;
use crate::wire::{IN_DOUBT, Standing, reply};

const MAX_HOLDER: usize = 256;

#[derive(Serialize)]
struct Reply<'a> {
    ok: bool,
    status: &'static str,
    key: &'a str,
    ttl: u64,
    #[serde(flatten)]
    standing: Standing,
    usage: u64,
    limit: Option<u64>,
    charged: u8,
    #[serde(flatten)]
    grant: Option<Grant>,
}

/// The fields of a reply that grants a lease.
#[derive(Serialize)]
struct Grant {
    token: u64,
    attempt: u32,
    former: Option<Former>,
}

#[derive(Serialize)]
struct Former {
    ended: &'static str,
    checkpoint: Option<String>,
}

pub(crate) async fn acquire(call: &Call) -> Result<Response, Refusal> {
    let answered = answer(call).await;
    let counted = match &answered {
        Ok((counted, _)) => *counted,
        Err(refusal) if refusal.is_over_quota() => Counted::Blocked,
        Err(_) => Counted::Other,
    };
    call.count(Kind::Ai, counted).await;
    answered.map(|(_, response)| response)
}

async fn answer(call: &Call) -> Result<(Counted, Response), Refusal> {
    let fields = call.fields()?;
    let key = fields.key()?;
    let ttl = fields.seconds("ttl")?.unwrap_or(call.tenant.limits().default_ttl);
    let request = request(call, &fields, &key, ttl)?;
    let chosen = call.secret.chosen((&call.tenant.name, &key), &call.headers, &fields).await?;
    let request = match chosen {
        Some(id) => request.lease_id(id),
        None => request,
    };
    let acquisition = call
        .write(request)
        .await
        .map_err(|refusal| refusal.of_plan(&call.tenant.settings.plan, &call.tenant.settings.upgrade_url))?;
    let doubts = call.tenant.doubts();
    let (counted, mut standing, grant, charged) = match &acquisition {
        Acquisition::Acquired(lease) => {
            let charged = u8::from(!lease.is_duplicate());
            (Counted::Acquired, Standing::granted(lease), Some(Grant::of(lease)), charged)
        }
        Acquisition::Completed(view) | Acquisition::Failed(view) => {
            (Counted::Other, Standing::of(view, doubts), None, 0)
        }
        Acquisition::InDoubt(view) => (Counted::Other, Standing::of(view, true), None, 0),
        Acquisition::InProgress(view) => (Counted::Polling, Standing::of(view, doubts), None, 0),
        _ => return Err(Refusal::unavailable()),
    };
    if counted == Counted::Polling {
        standing.status = "polling";
    }
    let usage = call.usage(Kind::Ai).await?;
    let (status, ttl) = (standing.status, seconds(ttl));
    let (usage, limit) = (usage.used(), usage.limit());
    let body = Reply { ok: true, status, key: &key, ttl, standing, usage, limit, charged, grant };
    let response = reply(&body)?;
    // From here on the lease is the caller's.
    if let Acquisition::Acquired(lease) = acquisition {
        let _handle = lease.detach();
    }
    Ok((counted, response))
}

/// Returns the request without a lease id.
fn request<'a>(
    call: &'a Call,
    fields: &Fields,
    key: &'a str,
    ttl: Duration,
) -> Result<AcquireRequest<'a>, Refusal> {
    let settings = &call.tenant.settings;
    let mut request = call.tenant.ai.acquire(key).ttl(ttl);
    request = request.on_failed(on_failed(fields)?.unwrap_or(settings.on_failed));
    request = request.on_lapsed(on_lapsed(fields)?.unwrap_or(settings.on_lapsed));
    if let Some(metadata) = fields.object("metadata")? {
        request = request.metadata_json(metadata.get());
    }
    if let Some(holder) = fields.text_up_to("holder", MAX_HOLDER)? {
        request = request.holder(&holder);
    }
    if let Some(fingerprint) = fingerprint(fields)? {
        request = request.fingerprint_hash(fingerprint);
    }
    Ok(request)
}

fn fingerprint(fields: &Fields) -> Result<Option<Fingerprint>, Refusal> {
    let Some(text) = fields.text("fingerprint")? else { return Ok(None) };
    match bytes_of_hex(&text) {
        Some(bytes) => Ok(Some(Fingerprint::from_bytes(bytes))),
        None => {
            let message = "Input should be the SHA-256 of the request, as 64 hexadecimal digits";
            Err(Refusal::field("body", "fingerprint", "value_error", message))
        }
    }
}

fn on_failed(fields: &Fields) -> Result<Option<OnFailed>, Refusal> {
    let refusal = || {
        let message = "Input should be \"replay\" or {\"retry\": {\"max_attempts\": N, \"backoff_sec\": N}}";
        Refusal::field("body", "on_failed", "value_error", message)
    };
    match fields.json("on_failed") {
        None => Ok(None),
        Some(text) if text.get() == "\"replay\"" => Ok(Some(OnFailed::Replay)),
        Some(_) => {
            let policy = fields.fields("on_failed").map_err(|_| refusal())?.ok_or_else(refusal)?;
            let retry = policy.fields("retry").map_err(|_| refusal())?.ok_or_else(refusal)?;
            let attempts = retry.whole("max_attempts", 1).map_err(|_| refusal())?.ok_or_else(refusal)?;
            let backoff = retry.whole("backoff_sec", 0).map_err(|_| refusal())?.unwrap_or(0);
            Ok(Some(OnFailed::Retry {
                max_attempts: attempts.try_into().map_err(|_| refusal())?,
                backoff: Backoff::fixed(Duration::from_secs(backoff)),
            }))
        }
    }
}

fn on_lapsed(fields: &Fields) -> Result<Option<OnLapsed>, Refusal> {
    match fields.text("on_lapsed")?.as_deref() {
        None => Ok(None),
        Some("take_over") => Ok(Some(OnLapsed::TakeOver)),
        Some(IN_DOUBT) => Ok(Some(OnLapsed::InDoubt)),
        Some(_) => {
            let message = "Input should be \"take_over\" or \"in_doubt\"";
            Err(Refusal::field("body", "on_lapsed", "value_error", message))
        }
    }
}

impl Grant {
    fn of(lease: &Lease) -> Self {
        let former = lease.previous_grant().map(|former| Former {
            ended: match former.ended() {
                GrantEnd::Released => "released",
                GrantEnd::Failed => "failed",
                _ => "lapsed",
            },
            checkpoint: lease.previous_checkpoint_bytes().map(|bytes| BASE64_STANDARD.encode(bytes)),
        });
        Self { token: lease.token().as_u64(), attempt: lease.attempt(), former }
    }
}
