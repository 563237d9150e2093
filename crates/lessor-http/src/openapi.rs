//! The OpenAPI document, which follows from the table of calls.

mod schemas;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::routes::{Handler, ROUTES, Route};
use schemas::{parameters, replies, reply, request};

/// Returns the document, which is made once.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = methods {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lessor",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Leases over HTTP: a piece of work under a key is done once.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas::named(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let Route { method, path, handler } = route;
    let segments = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = segments.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let parameters: Vec<Value> = in_path.chain(parameters(*handler)).collect();
    let words: Vec<&str> =
        path.split(|found: char| !found.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let id =
        format!("{}_{}", method.as_str().to_ascii_lowercase(), words.get(1..).unwrap_or_default().join("_"));
    let mut operation =
        json!({ "operationId": id, "parameters": parameters, "responses": responses(*handler) });
    if let (Some(schema), Value::Object(operation)) = (request(*handler), &mut operation) {
        let content = json!({ "application/json": { "schema": schema } });
        operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    operation
}

fn responses(handler: Handler) -> Value {
    let mut responses = Map::new();
    if handler != Handler::NotBuilt {
        let content = json!({ "application/json": { "schema": reply(handler) } });
        responses.insert("200".to_owned(), json!({ "description": "Success", "content": content }));
    }
    for (status, description) in replies(handler) {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } });
        responses.insert(status.to_string(), json!({ "description": description, "content": content }));
    }
    Value::Object(responses)
}
