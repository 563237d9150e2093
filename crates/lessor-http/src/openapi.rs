//! The OpenAPI document, which follows from the table of calls.

use serde_json::{Value, json};

/// Returns the document.
pub(crate) fn document() -> Value {
    json!({ "openapi": "3.1.0" })
}
