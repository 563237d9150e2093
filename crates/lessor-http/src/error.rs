//! [`Refusal`], the reply to a request that is refused or fails.

use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lessor_core::{Error, State, StoreError};
use serde_json::{Value, json};

/// The reply to a request that is refused or fails: a status, and a body `{"detail": …}`.
///
/// `Debug` shows no more than the client gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal(Box<Parts>);

#[derive(Clone, Debug, PartialEq)]
struct Parts {
    status: StatusCode,
    detail: Value,
    allow: Option<String>,
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self(Box::new(Parts { status, detail: detail.into(), allow: None, closes: false }))
    }

    /// Returns a refusal with a short code and nothing else.
    pub(crate) fn code(status: StatusCode, code: &str) -> Self {
        Self::new(status, json!({ "error": code }))
    }

    fn explained(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::new(status, json!({ "error": code, "message": message.into() }))
    }

    /// Returns the refusal of a field in this part of the request: `body`, `query` or `header`.
    pub(crate) fn field(part: &str, name: &str, problem: &str, message: impl Into<String>) -> Self {
        let entry =
            json!({ "type": problem, "loc": [part, name], "msg": message.into(), "input": Value::Null });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, json!([entry]))
    }

    /// Returns the refusal of a request without a required field.
    pub(crate) fn missing(part: &str, name: &str) -> Self {
        let entry = json!({ "type": "missing", "loc": [part, name], "msg": "Field required", "input": {} });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, json!([entry]))
    }

    /// Returns the refusal of a whole body or query.
    pub(crate) fn malformed(part: &str, problem: &str, message: impl Into<String>) -> Self {
        let entry = json!({ "type": problem, "loc": [part], "msg": message.into(), "input": {} });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, json!([entry]))
    }

    pub(crate) fn no_bearer() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Missing Authorization Bearer token")
    }

    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// Returns the refusal of a method. The path takes those of `allow`.
    pub(crate) fn no_method(allow: String) -> Self {
        let mut refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        refusal.0.allow = Some(allow);
        refusal
    }

    pub(crate) fn not_found() -> Self {
        Self::explained(StatusCode::NOT_FOUND, "not_found", Error::NotFound.to_string())
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        let detail = json!({ "error": "body_too_large", "message": message, "limit": limit });
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).closing()
    }

    pub(crate) fn unavailable() -> Self {
        Self::code(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    }

    pub(crate) fn indeterminate() -> Self {
        Self::code(StatusCode::SERVICE_UNAVAILABLE, "indeterminate")
    }

    /// Closes the connection after the reply, because the rest of the request was not read.
    pub(crate) fn closing(self) -> Self {
        self.closing_if(true)
    }

    pub(crate) fn closing_if(mut self, closes: bool) -> Self {
        self.0.closes |= closes;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the refusal of a grant over the quota.
    fn over_quota(used: u64, limit: Option<u64>) -> Self {
        let detail = json!({
            "error": "payment_required", "highlights": "Plan limit reached", "plan": "", "limit": limit,
            "usage": used, "upgrade_url": "",
        });
        Self::new(StatusCode::PAYMENT_REQUIRED, detail)
    }

    pub(crate) fn is_over_quota(&self) -> bool {
        self.0.status == StatusCode::PAYMENT_REQUIRED
    }

    /// Completes the refusal of a grant over the quota with the plan of its namespace.
    pub(crate) fn of_plan(mut self, plan: &str, upgrade_url: &str) -> Self {
        if self.is_over_quota()
            && let Value::Object(detail) = &mut self.0.detail
        {
            detail.insert("plan".to_owned(), plan.into());
            detail.insert("upgrade_url".to_owned(), upgrade_url.into());
        }
        self
    }

    /// Names another field of the body as the one that was refused.
    pub(crate) fn about(mut self, name: &str) -> Self {
        if let Some(place) = self.0.detail.pointer_mut("/0/loc/1") {
            *place = name.into();
        }
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Key(_) => Self::field("body", "key", "value_error", message),
            Error::LeaseId(_) => Self::field("body", "lease_id", "value_error", message),
            Error::Invalid { what, .. } => Self::field("body", field_of(what), "value_error", message),
            Error::TooLarge { what: "result", limit, .. } => result_too_large(message, limit as u64),
            Error::TooLarge { what, .. } => Self::field("body", field_of(what), "too_long", message),
            Error::Json(_) | Error::Codec(_) => Self::malformed("body", "value_error", message),
            Error::NotFound => Self::not_found(),
            Error::NotHolder { token, .. } => {
                Self::new(StatusCode::CONFLICT, json!({ "error": "not_holder", "token": token.as_u64() }))
            }
            Error::Lapsed => Self::code(StatusCode::CONFLICT, "lease_expired"),
            Error::Finished { state, .. } => {
                let status = if state == State::Completed { "completed" } else { "failed" };
                Self::new(StatusCode::CONFLICT, json!({ "error": "already_finished", "status": status }))
            }
            Error::Released => Self::code(StatusCode::CONFLICT, "released"),
            Error::Busy { .. } => Self::code(StatusCode::CONFLICT, "busy"),
            Error::LeaseIdReused => Self::code(StatusCode::CONFLICT, "lease_id_reused"),
            Error::FingerprintMismatch => {
                Self::explained(StatusCode::UNPROCESSABLE_ENTITY, "fingerprint_mismatch", message)
            }
            Error::QuotaExceeded(usage) => Self::over_quota(usage.used(), usage.limit()),
            Error::ClockOutOfRange => Self::code(StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
            Error::Store(error) => of_store(&error, message),
            _ => Self::unavailable(),
        }
    }
}

fn of_store(error: &StoreError, message: String) -> Refusal {
    match error {
        StoreError::Indeterminate(_) => Refusal::indeterminate(),
        StoreError::Corrupt { .. } => Refusal::code(StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
        StoreError::Incompatible(_) => Refusal::code(StatusCode::INTERNAL_SERVER_ERROR, "incompatible"),
        StoreError::Full(_) => Refusal::code(StatusCode::INSUFFICIENT_STORAGE, "full"),
        StoreError::TooLarge { limit, .. } => result_too_large(message, *limit),
        _ => Refusal::unavailable(),
    }
}

fn result_too_large(message: String, limit: u64) -> Refusal {
    let detail = json!({ "error": "result_too_large", "message": message, "limit": limit });
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Returns the field of a request from which the engine's argument comes.
fn field_of(what: &'static str) -> &'static str {
    match what {
        "holder label" => "holder",
        "result hash" => "result_hash",
        "error code" => "error_code",
        "error detail" => "detail",
        "max_attempts" => "on_failed",
        other => other,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Parts { status, detail, allow, closes } = *self.0;
        let body = json!({ "detail": detail }).to_string();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_engine_has_its_status_and_code() {
        let store = |error: StoreError| Error::from(error);
        for (error, status, code) in [
            (Error::NotFound, 404, "not_found"),
            (Error::Lapsed, 409, "lease_expired"),
            (Error::Released, 409, "released"),
            (Error::LeaseIdReused, 409, "lease_id_reused"),
            (Error::FingerprintMismatch, 422, "fingerprint_mismatch"),
            (Error::ClockOutOfRange, 500, "corrupt"),
            (Error::ShutDown, 503, "unavailable"),
            (store(StoreError::unavailable("secret")), 503, "unavailable"),
            (store(StoreError::misconfigured("secret")), 503, "unavailable"),
            (store(StoreError::indeterminate("secret")), 503, "indeterminate"),
            (store(StoreError::corrupt("secret", "secret")), 500, "corrupt"),
            (store(StoreError::incompatible("secret")), 500, "incompatible"),
            (store(StoreError::full("secret")), 507, "full"),
            (store(StoreError::too_large(2, 1)), 413, "result_too_large"),
        ] {
            let Parts { status: found, detail, .. } = *Refusal::from(error).0;
            assert_eq!((found.as_u16(), &detail["error"]), (status, &json!(code)), "{detail}");
            assert!(
                !detail.to_string().contains("secret"),
                "errors of the store are for its operator: {detail}"
            );
        }
    }

    #[test]
    fn a_refusal_that_calls_for_a_later_attempt_says_when() {
        for refusal in [Refusal::unavailable(), Refusal::code(StatusCode::TOO_MANY_REQUESTS, "rate_limited")]
        {
            assert_eq!(refusal.into_response().headers()[RETRY_AFTER], "1");
        }
        assert!(!Refusal::not_found().into_response().headers().contains_key(RETRY_AFTER));
    }
}
