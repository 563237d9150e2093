//! The calls about a namespace: usage, limits, notifications and counts per day.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde::Serialize;

use crate::call::Call;
use crate::counters::{Counts, Kind};
use crate::error::Refusal;
use crate::namespaces::Notifications;
use crate::query::Query;
use crate::time::{month, seconds};
use crate::wire::reply;

const PLAN: HeaderName = HeaderName::from_static("x-onceonly-plan");
const MONTH: HeaderName = HeaderName::from_static("x-onceonly-month");

#[derive(Serialize)]
struct UsageOfKind<'a> {
    plan: &'a str,
    month: &'a str,
    usage: u64,
    limit: Option<u64>,
    requests_total_month: u64,
    blocked_total_month: u64,
}

#[derive(Serialize)]
struct AllUsage<'a> {
    plan: &'a str,
    month: &'a str,
    make: Totals,
    ai: Totals,
}

#[derive(Serialize)]
struct Totals {
    usage: u64,
    limit: Option<u64>,
    requests_total_month: u64,
    blocked_total_month: u64,
    charged_total_month: u64,
    polling_total_month: u64,
}

pub(crate) async fn usage(call: &Call) -> Result<Response, Refusal> {
    let kind = match call.query()?.get("kind") {
        None | Some("make") => Kind::Make,
        Some("ai") => Kind::Ai,
        Some(_) => return Err(Refusal::field("query", "kind", "enum", "Input should be make or ai")),
    };
    let month = month(call.now().await?);
    let Totals { usage, limit, requests_total_month, blocked_total_month, .. } =
        totals(call, &month, kind).await?;
    let plan = &call.tenant.settings.plan;
    let body = UsageOfKind { plan, month: &month, usage, limit, requests_total_month, blocked_total_month };
    with_headers(plan, &month, reply(&body)?)
}

pub(crate) async fn usage_all(call: &Call) -> Result<Response, Refusal> {
    let month = month(call.now().await?);
    let make = totals(call, &month, Kind::Make).await?;
    let ai = totals(call, &month, Kind::Ai).await?;
    let plan = &call.tenant.settings.plan;
    with_headers(plan, &month, reply(&AllUsage { plan, month: &month, make, ai })?)
}

async fn totals(call: &Call, month: &str, kind: Kind) -> Result<Totals, Refusal> {
    let usage = call.usage(kind).await?;
    let counts = call.tenant.counters.month(month, kind);
    Ok(Totals {
        usage: usage.used(),
        limit: usage.limit(),
        requests_total_month: counts.requests,
        blocked_total_month: counts.blocked,
        charged_total_month: usage.used(),
        polling_total_month: counts.polling,
    })
}

fn with_headers(plan: &str, month: &str, mut response: Response) -> Result<Response, Refusal> {
    for (name, value) in [(PLAN, plan), (MONTH, month)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

#[derive(Serialize)]
struct Me<'a> {
    namespace: &'a str,
    plan: &'a str,
    limits: Limits,
    #[serde(flatten)]
    notifications: Notifications,
}

/// The limits of a namespace. Durations are in seconds, sizes in bytes, quotas per month.
#[derive(Serialize)]
struct Limits {
    default_ttl: u64,
    max_ttl: u64,
    retention: u64,
    max_result: usize,
    max_checkpoint: usize,
    max_metadata: usize,
    ai: Option<u64>,
    make: Option<u64>,
}

pub(crate) async fn me(call: &Call) -> Result<Response, Refusal> {
    let limits = call.tenant.limits();
    let settings = &call.tenant.settings;
    reply(&Me {
        namespace: &call.tenant.name,
        plan: &settings.plan,
        limits: Limits {
            default_ttl: seconds(limits.default_ttl),
            max_ttl: seconds(limits.max_ttl),
            retention: seconds(limits.retention),
            max_result: limits.max_result,
            max_checkpoint: limits.max_checkpoint,
            max_metadata: limits.max_metadata,
            ai: settings.quota.ai,
            make: settings.quota.make,
        },
        notifications: *call.tenant.notifications.lock(),
    })
}

/// Stores the switches. Nothing is ever sent.
pub(crate) async fn notifications(call: &Call) -> Result<Response, Refusal> {
    let fields = call.fields()?;
    let email = fields.flag("email_notifications_enabled")?;
    let tool_error = fields.flag("tool_error_notifications_enabled")?;
    let run_failure = fields.flag("run_failure_notifications_enabled")?;
    if email.or(tool_error).or(run_failure).is_none() {
        return Err(Refusal::missing("body", "email_notifications_enabled"));
    }
    let stored = {
        let mut stored = call.tenant.notifications.lock();
        *stored = Notifications {
            email: email.unwrap_or(stored.email),
            tool_error: tool_error.unwrap_or(stored.tool_error),
            run_failure: run_failure.unwrap_or(stored.run_failure),
        };
        *stored
    };
    reply(&stored)
}

#[derive(Serialize)]
struct Day {
    day: String,
    kind: Kind,
    #[serde(flatten)]
    counts: Counts,
}

pub(crate) async fn metrics(call: &Call) -> Result<Response, Refusal> {
    let query = call.query()?;
    let from = day(&query, "from_day")?.unwrap_or("0000-01-01");
    let to = day(&query, "to_day")?.unwrap_or("9999-12-31");
    let days = call.tenant.counters.days(from, to);
    let days: Vec<_> = days.into_iter().map(|(day, kind, counts)| Day { day, kind, counts }).collect();
    reply(&days)
}

/// Returns a parameter of the form `YYYY-MM-DD`.
fn day<'a>(query: &'a Query, name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(day) = query.get(name) else { return Ok(None) };
    let fits =
        |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    let is_day = day.len() == 10 && day.bytes().enumerate().all(fits);
    let message = "Input should be a day, such as 2026-03-31";
    if is_day { Ok(Some(day)) } else { Err(Refusal::field("query", name, "date_parsing", message)) }
}
