//! `POST /v1/check-lock`: a lock that nobody holds, and that opens after its ttl.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use lessor_core::{Acquisition, OnFailed, OnLapsed};
use serde::Serialize;
use serde_json::json;

use crate::call::Call;
use crate::counters::{Counted, Kind};
use crate::error::Refusal;
use crate::time::{seconds, text};
use crate::wire::{reply, reply_with};

const STATUS: HeaderName = HeaderName::from_static("x-onceonly-status");

#[derive(Serialize)]
struct Locked<'a> {
    success: bool,
    status: &'static str,
    key: &'a str,
    ttl: u64,
    first_seen_at: Option<String>,
}

pub(crate) async fn check_lock(call: &Call) -> Result<Response, Refusal> {
    let answered = lock(call).await;
    let counted = match &answered {
        Ok((counted, _)) => *counted,
        Err(refusal) if refusal.is_over_quota() => Counted::Blocked,
        Err(_) => Counted::Other,
    };
    call.count(Kind::Make, counted).await;
    answered.map(|(_, response)| response)
}

async fn lock(call: &Call) -> Result<(Counted, Response), Refusal> {
    let settings = &call.tenant.settings;
    let fields = call.fields()?;
    let key = fields.key()?;
    let ttl = fields.seconds("ttl")?.unwrap_or(call.tenant.limits().default_ttl);
    // Locks have a namespace of their own, so the name of the lock may be the key.
    let mut request = call.tenant.make.acquire(&key).ttl(ttl);
    request = request.on_failed(OnFailed::Replay).on_lapsed(OnLapsed::TakeOver);
    if let Some(metadata) = fields.object("metadata")? {
        request = request.metadata_json(metadata.get());
    }
    let acquisition = call
        .write(request)
        .await
        .map_err(|refusal| refusal.of_plan(&settings.plan, &settings.upgrade_url))?;
    let mut body =
        Locked { success: true, status: "locked", key: &key, ttl: seconds(ttl), first_seen_at: None };
    let (counted, mut response) = match acquisition {
        Acquisition::Acquired(lease) => {
            let response = reply(&body)?;
            // Nobody has the lease, so it lapses after its ttl.
            let _handle = lease.detach();
            (Counted::Acquired, response)
        }
        Acquisition::InProgress(view) => {
            let since = text(view.acquired_at());
            let response = if settings.duplicate_status == 409 {
                let detail = json!({ "error": "Duplicate blocked", "first_seen_at": since });
                reply_with(StatusCode::CONFLICT, &json!({ "detail": detail }))?
            } else {
                (body.success, body.status, body.first_seen_at) = (false, "duplicate", Some(since));
                reply(&body)?
            };
            (Counted::Blocked, response)
        }
        // Nobody can complete or fail a lock.
        _ => return Err(Refusal::unavailable()),
    };
    let status = if counted == Counted::Acquired { "locked" } else { "duplicate" };
    response.headers_mut().insert(STATUS, HeaderValue::from_static(status));
    Ok((counted, response))
}
