//! The OpenAPI document, and whether replies are as it says.

use serde_json::Value;

use crate::server::Server;

/// The document of a server.
pub(crate) struct Document(Value);

impl Document {
    pub(crate) async fn of(server: &Server) -> Self {
        Self(server.call("GET", "/openapi.json", "").await.json())
    }

    /// Returns the problem with a reply, if it is not as the document says. `path` may have a query.
    pub(crate) fn check(&self, method: &str, path: &str, status: u16, reply: &Value) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        let operation = &self.0["paths"][path][method.to_ascii_lowercase()];
        if operation.is_null() {
            return Ok(());
        }
        let schema = &operation["responses"][status.to_string()]["content"]["application/json"]["schema"];
        if schema.is_null() {
            return Err(format!("{method} {path} has no status {status}"));
        }
        self.validate(schema, reply, "reply")
    }

    /// Checks a value by the part of JSON Schema that the document uses.
    fn validate(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/components/schemas/");
            return self.validate(&self.0["components"]["schemas"][name], value, at);
        }
        if let Some(schemas) = schema["anyOf"].as_array() {
            let found: Vec<_> = schemas.iter().map(|schema| self.validate(schema, value, at)).collect();
            return if found.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{found:?}")) };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = match &schema["type"] {
            Value::Null => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            only => only.as_str().into_iter().collect(),
        };
        let is_listed = schema["enum"].as_array().is_none_or(|values| values.contains(value));
        let is_const = schema.get("const").is_none_or(|only| only == value);
        if !kinds.contains(&kind) || !is_listed || !is_const {
            return Err(format!("{at}: {value} does not fit {schema}"));
        }
        if let Value::Array(items) = value {
            return items.iter().try_for_each(|item| self.validate(&schema["items"], item, at));
        }
        let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) else {
            return Ok(());
        };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        for (name, field) in fields {
            match properties.get(name) {
                Some(schema) => self.validate(schema, field, &format!("{at}.{name}"))?,
                None => return Err(format!("{at}: {name} is not in the document")),
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_path_and_method_of_the_document_is_served_and_has_a_name_of_its_own() {
    let server = Server::new();
    let document = Document::of(&server).await.0;
    let mut names = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.replace(['{', '}'], "");
            let reply = server.call_as("operator", &method.to_ascii_uppercase(), &path, "{}").await;
            assert!(!matches!(reply.status.as_u16(), 404 | 405), "{method} {path}: {}", reply.text);
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(!names.contains(&name), "{name}");
            names.push(name);
        }
    }
    assert!(names.len() > 30, "{}", names.len());
}
