//! The schemas of requests and replies.

use serde_json::{Map, Value, json};

use crate::routes::Handler;

/// A character of a key: any but control characters.
const NO_CONTROLS: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
/// A date and time in UTC, in whole seconds.
const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$";

/// Returns the schemas that others refer to.
pub(super) fn named() -> Value {
    json!({
        "Refusal": {
            "type": "object",
            "properties": { "detail": { "type": ["string", "object", "array"] } },
            "required": ["detail"],
            "additionalProperties": false,
        },
    })
}

/// Returns the schema of an object that has exactly these fields.
fn exactly(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": map(fields), "required": names, "additionalProperties": false })
}

/// Returns the schema of a request with these fields, of which the first `required` must be there.
fn body(required: usize, fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().take(required).map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": map(fields), "required": names })
}

fn map(fields: &[(&str, Value)]) -> Map<String, Value> {
    fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect()
}

fn key() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 256, "pattern": NO_CONTROLS })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

fn text_up_to(most: u32) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": most })
}

/// Returns the schema of an optional text of one line.
fn line_or_null(least: u32, most: u32) -> Value {
    let pattern = if least == 0 { NO_CONTROLS.replace('+', "*") } else { NO_CONTROLS.to_owned() };
    json!({ "type": ["string", "null"], "minLength": least, "maxLength": most, "pattern": pattern })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn number_or_null() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn time() -> Value {
    json!({ "type": "string", "pattern": TIME })
}

fn time_or_null() -> Value {
    json!({ "type": ["string", "null"], "pattern": TIME })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn ttl() -> Value {
    let description = "In seconds. The limit of the namespace may be another one.";
    json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 86_400, "description": description })
}

fn metadata() -> Value {
    json!({ "type": ["object", "null"], "description": "At most 2048 bytes, unless the namespace has another limit." })
}

/// Returns the schema of a request's body, if it has one.
pub(super) fn request(handler: Handler) -> Option<Value> {
    let held = |fields: &[(&str, Value)], required: usize| {
        let both = [("key", key()), ("lease_id", text())];
        body(2 + required, &[&both[..], fields].concat())
    };
    Some(match handler {
        Handler::Acquire => body(
            1,
            &[
                ("key", key()),
                ("ttl", ttl()),
                ("metadata", metadata()),
                ("holder", line_or_null(1, 256)),
                ("fingerprint", json!({ "type": ["string", "null"], "pattern": "^[0-9a-fA-F]{64}$" })),
                ("lease_id", json!({ "type": ["string", "null"], "pattern": "^lease_[0-9a-fA-F]{32}$" })),
                ("on_lapsed", json!({ "enum": ["take_over", "in_doubt", null] })),
                (
                    "on_failed",
                    json!({ "anyOf": [{ "enum": ["replay", null] }, body(1, &[("retry", body(1, &[
                ("max_attempts", json!({ "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 })),
                ("backoff_sec", number_or_null()),
            ]))])] }),
                ),
            ],
        ),
        Handler::Extend => held(&[("ttl", ttl())], 0),
        Handler::Complete => held(
            &[
                ("result", json!({})),
                ("result_hash", json!({ "type": ["string", "null"], "minLength": 1, "maxLength": 128 })),
            ],
            0,
        ),
        Handler::Fail => {
            let mut code = text_up_to(256);
            if let Value::Object(code) = &mut code {
                code.insert("pattern".to_owned(), NO_CONTROLS.into());
            }
            held(&[("error_code", code), ("error_hash", text_or_null()), ("detail", json!({}))], 1)
        }
        Handler::Cancel => held(&[("reason", line_or_null(0, 247))], 0),
        Handler::Release => held(&[], 0),
        Handler::Checkpoint => {
            held(&[("checkpoint", json!({ "type": "string", "contentEncoding": "base64" }))], 1)
        }
        Handler::Forget => body(1, &[("key", key()), ("force", json!({ "type": ["boolean", "null"] }))]),
        Handler::Resolve => body(
            2,
            &[
                ("key", key()),
                ("status", one_of(&["completed", "failed", "released"])),
                ("result", json!({})),
                ("error_code", line_or_null(1, 256)),
            ],
        ),
        Handler::CheckLock => body(1, &[("key", key()), ("ttl", ttl()), ("metadata", metadata())]),
        Handler::Notifications => {
            let switch = json!({ "type": ["boolean", "null"] });
            let names = [
                "email_notifications_enabled",
                "tool_error_notifications_enabled",
                "run_failure_notifications_enabled",
            ];
            let mut schema = body(0, &names.map(|name| (name, switch.clone())));
            if let Value::Object(schema) = &mut schema {
                let set = |name: &str| json!({ "required": [name], "properties": { name: flag() } });
                schema.insert("anyOf".to_owned(), names.map(set).to_vec().into());
            }
            schema
        }
        _ => return None,
    })
}

/// Returns the parameters of a call's query.
pub(super) fn parameters(handler: Handler) -> Vec<Value> {
    let parameter = |name: &str, required: bool, schema: Value| json!({ "name": name, "in": "query", "required": required, "schema": schema });
    let whole = |least: u32, most: u32| json!({ "type": "integer", "minimum": least, "maximum": most });
    let day = || json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" });
    match handler {
        Handler::Acquire => {
            let schema = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
            vec![json!({ "name": "Idempotency-Key", "in": "header", "required": false, "schema": schema })]
        }
        Handler::Status => vec![parameter("key", true, key()), parameter("wait", false, whole(0, 30))],
        Handler::Result => vec![parameter("key", true, key())],
        Handler::List => vec![
            parameter("prefix", false, text()),
            parameter("state", false, one_of(&["in_progress", "expired", "completed", "failed", "released"])),
            parameter("limit", false, whole(1, 500)),
            parameter("cursor", false, key()),
        ],
        Handler::Usage => vec![parameter("kind", false, one_of(&["make", "ai"]))],
        Handler::Metrics => vec![parameter("from_day", false, day()), parameter("to_day", false, day())],
        _ => Vec::new(),
    }
}

/// Returns the fields of a record.
fn standing() -> Vec<(&'static str, Value)> {
    vec![
        ("ttl_left", number_or_null()),
        (
            "lease_id",
            json!({ "type": ["string", "null"], "description": "Only in the reply that grants the lease." }),
        ),
        ("version", number()),
        ("first_seen_at", time()),
        ("done_at", time_or_null()),
        ("result_hash", text_or_null()),
        ("error_code", text_or_null()),
        ("retry_after_sec", json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 5 })),
    ]
}

fn shown() -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("status", one_of(&["in_progress", "expired", "completed", "failed", "released"])),
        ("key", text()),
    ];
    fields.extend(standing());
    fields.extend([
        ("attempt", number()),
        ("holder", text_or_null()),
        ("metadata", json!({ "type": ["object", "null"] })),
    ]);
    fields
}

/// Returns the schema of a successful reply.
pub(super) fn reply(handler: Handler) -> Value {
    let ok = || ("ok", json!({ "const": true }));
    let acknowledged = |status: &[&str]| {
        let mut schema = exactly(&[ok(), ("status", one_of(status)), ("key", text()), ("version", number())]);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("late".to_owned(), json!({ "const": true }));
        }
        schema
    };
    match handler {
        Handler::Acquire => {
            let mut fields = vec![ok(), ("key", text()), ("ttl", number())];
            fields.extend(standing());
            fields.extend([
                ("usage", number()),
                ("limit", number_or_null()),
                ("charged", json!({ "enum": [0, 1] })),
            ]);
            let others = one_of(&["polling", "completed", "failed"]);
            let ungranted = exactly(&[&fields[..], &[("status", others)]].concat());
            let former = exactly(&[
                ("ended", one_of(&["lapsed", "released", "failed"])),
                ("checkpoint", text_or_null()),
            ]);
            fields.extend([
                ("status", one_of(&["acquired"])),
                ("token", number()),
                ("attempt", number()),
                ("former", json!({ "anyOf": [{ "type": "null" }, former] })),
            ]);
            json!({ "anyOf": [exactly(&fields), ungranted] })
        }
        Handler::Status => exactly(&[&[ok()][..], &shown()].concat()),
        Handler::Extend => exactly(&[
            ok(),
            ("status", one_of(&["extended"])),
            ("key", text()),
            ("ttl", number()),
            ("version", number()),
        ]),
        Handler::Complete => acknowledged(&["completed"]),
        Handler::Fail | Handler::Cancel => acknowledged(&["failed"]),
        Handler::Release => acknowledged(&["released"]),
        Handler::Checkpoint => acknowledged(&["checkpointed"]),
        Handler::Resolve => acknowledged(&["completed", "failed", "released"]),
        Handler::Forget => exactly(&[ok(), ("status", one_of(&["forgotten"])), ("key", text())]),
        Handler::Result => exactly(&[
            ok(),
            ("status", one_of(&["in_progress", "expired", "completed", "failed", "released"])),
            ("key", text()),
            ("result", json!({})),
            ("result_hash", text_or_null()),
            ("error_code", text_or_null()),
            ("done_at", time_or_null()),
        ]),
        Handler::List => {
            let items = json!({ "type": "array", "items": exactly(&shown()) });
            exactly(&[ok(), ("items", items), ("cursor", text_or_null())])
        }
        Handler::CheckLock => exactly(&[
            ("success", flag()),
            ("status", one_of(&["locked", "duplicate"])),
            ("key", text()),
            ("ttl", number()),
            ("first_seen_at", time_or_null()),
        ]),
        Handler::Usage => exactly(&[&month()[..], &totals()[..4]].concat()),
        Handler::UsageAll => {
            exactly(&[&month()[..], &[("make", exactly(&totals())), ("ai", exactly(&totals()))]].concat())
        }
        Handler::Me => {
            let names =
                ["default_ttl", "max_ttl", "retention", "max_result", "max_checkpoint", "max_metadata"];
            let limits = names.map(|name| (name, number()));
            let quotas = [("ai", number_or_null()), ("make", number_or_null())];
            let limits = exactly(&[&limits[..], &quotas].concat());
            exactly(
                &[&[("namespace", text()), ("plan", text()), ("limits", limits)][..], &switches()].concat(),
            )
        }
        Handler::Notifications => exactly(&switches()),
        Handler::Metrics => {
            let names = ["requests", "acquired", "polling", "completed", "failed", "blocked"];
            let counts = names.map(|name| (name, number()));
            let day = exactly(&[&[("day", text()), ("kind", one_of(&["ai", "make"]))][..], &counts].concat());
            json!({ "type": "array", "items": day })
        }
        Handler::NotBuilt => json!({}),
    }
}

fn month() -> [(&'static str, Value); 2] {
    [("plan", text()), ("month", json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$" }))]
}

fn totals() -> [(&'static str, Value); 6] {
    [
        ("usage", number()),
        ("limit", number_or_null()),
        ("requests_total_month", number()),
        ("blocked_total_month", number()),
        ("charged_total_month", number()),
        ("polling_total_month", number()),
    ]
}

fn switches() -> [(&'static str, Value); 3] {
    ["email_notifications_enabled", "tool_error_notifications_enabled", "run_failure_notifications_enabled"]
        .map(|name| (name, flag()))
}

/// Returns the statuses of the refusals of a call.
pub(super) fn replies(handler: Handler) -> Vec<(u16, &'static str)> {
    if handler == Handler::NotBuilt {
        return vec![(401, "No bearer key"), (403, "An invalid key"), (501, "Not implemented")];
    }
    let mut all = vec![
        (400, "A broken request"),
        (401, "No bearer key"),
        (403, "An invalid key, or one without the right"),
        (408, "The request did not arrive in time"),
        (413, "The body or the result is too large"),
        (422, "A field is missing or malformed"),
        (429, "Too many requests"),
        (500, "Stored data is damaged or of a newer release"),
        (503, "The store is unavailable, or the effect of the call is unknown"),
    ];
    match handler {
        Handler::Acquire => all.extend([
            (402, "The quota is used up"),
            (409, "The grant under the lease id is over"),
            (507, "The store is full"),
        ]),
        Handler::CheckLock => all.extend([
            (402, "The quota is used up"),
            (409, "The key is locked, in namespaces with that setting"),
            (507, "The store is full"),
        ]),
        Handler::Status | Handler::Result => all.push((404, "The key has no record")),
        Handler::List
        | Handler::Usage
        | Handler::UsageAll
        | Handler::Me
        | Handler::Notifications
        | Handler::Metrics => {}
        _ => all.extend([
            (404, "The key has no record"),
            (409, "The record is another holder's, or has ended"),
            (507, "The store is full"),
        ]),
    }
    all
}
