//! `GET /v1/ai/leases`.

use axum::response::Response;
use lessor_core::{Key, State};
use serde::Serialize;

use crate::call::Call;
use crate::error::Refusal;
use crate::wire::{Shown, reply};

/// The maximum length of a page. Results are in memory while a page is made.
const MAX_PAGE: u64 = 500;
const PAGE: u64 = 100;

#[derive(Serialize)]
struct Page<'a> {
    ok: bool,
    items: Vec<Shown<'a>>,
    cursor: Option<&'a str>,
}

pub(crate) async fn list(call: &Call) -> Result<Response, Refusal> {
    let query = call.query()?;
    let limit = query.whole("limit", 1, MAX_PAGE)?.unwrap_or(PAGE);
    let after = match query.get("cursor") {
        None => None,
        Some(cursor) => Some(Key::new(cursor).map_err(|_| {
            Refusal::field("query", "cursor", "value_error", "Input should be the cursor of a page")
        })?),
    };
    let mut request = call.tenant.ai.list().prefix(query.get("prefix").unwrap_or_default());
    request = request.after(after).limit(usize::try_from(limit).unwrap_or(usize::MAX));
    if let Some(state) = query.get("state") {
        request = request.state(state_of(state)?);
    }
    let page = call.read(request.send()).await?;
    let doubts = call.tenant.doubts();
    let items = page.entries.iter().map(|(key, view)| Shown::item(key.as_str(), view, doubts)).collect();
    reply(&Page { ok: true, items, cursor: page.next.as_ref().map(Key::as_str) })
}

fn state_of(word: &str) -> Result<State, Refusal> {
    match word {
        "in_progress" => Ok(State::InProgress),
        "expired" => Ok(State::Lapsed),
        "completed" => Ok(State::Completed),
        "failed" => Ok(State::Failed),
        "released" => Ok(State::Released),
        _ => {
            let message = "Input should be in_progress, expired, completed, failed or released";
            Err(Refusal::field("query", "state", "enum", message))
        }
    }
}
