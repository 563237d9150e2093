//! [`router`], the HTTP API as a router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use lessor_core::{Engine, LeaseId};
use serde_json::json;
use tokio::time::timeout;

use crate::body::Bodies;
use crate::call::Call;
use crate::config::{Config, ConfigError};
use crate::error::Refusal;
use crate::metrics::Replies;
use crate::namespaces::{Caller, Callers};
use crate::progress::Progress;
use crate::resent::Secret;
use crate::routes::{self, Handler, Route};
use crate::wire::{reply, reply_with};
use crate::{account, check_lock, leases, openapi};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// The size of a body beyond the largest result.
const REST_OF_BODY: usize = 64 << 10;

/// What all requests share.
#[derive(Debug)]
struct Service {
    engine: Engine,
    callers: Callers,
    secret: Arc<Secret>,
    bodies: Bodies,
    replies: Replies,
    store_timeout: Duration,
    healthz: bool,
    metrics: bool,
}

/// Returns the HTTP API over an engine, as a router for an application with axum. It replies to
/// every path, with 404 to unknown ones. An application with paths of its own makes it the fallback
/// of its router.
///
/// The router needs a Tokio runtime with time enabled. It sets limits on bodies, but not on
/// connections and heads of requests; [`serve`](crate::serve()) does.
///
/// # Errors
///
/// A [`ConfigError`] if a setting is out of its range, or if there is no key and
/// [`Config::any_key`](field@Config::any_key) is not set.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use axum::body::Body;
/// use axum::http::Request;
/// use axum::routing::get;
/// use lessor_core::Engine;
/// use lessor_http::{ApiKey, Config, Namespace};
/// use lessor_memory::MemoryStore;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let mut shop = Namespace::default();
/// shop.keys.push(ApiKey::of("once_live_secret"));
/// let leases = lessor_http::router(&engine, &Config::new().namespace("shop", shop))?;
/// let app: Router = Router::new().route("/", get(|| async { "shop" })).fallback_service(leases);
///
/// let request = Request::post("/v1/ai/lease")
///     .header("authorization", "Bearer once_live_secret")
///     .body(Body::from(r#"{"key": "invoice-42", "ttl": 60}"#))?;
/// assert_eq!(app.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub fn router(engine: &Engine, config: &Config) -> Result<Router, ConfigError> {
    let callers = Callers::open(engine, config)?;
    let server = &config.server;
    let service = Service {
        engine: engine.clone(),
        callers,
        secret: Arc::new(Secret::new(engine)?),
        bodies: Bodies::new(server.max_buffered, server.body_timeout),
        replies: Replies::default(),
        store_timeout: server.store_timeout,
        healthz: config.healthz,
        metrics: config.metrics,
    };
    Ok(Router::new().fallback(respond).with_state(Arc::new(service)))
}

async fn respond(State(service): State<Arc<Service>>, request: Request) -> Response {
    let request_id = request_id(request.headers());
    let progress = request.extensions().get::<Progress>().cloned();
    if let Some(progress) = &progress {
        progress.reads();
    }
    // A request with two lengths looks like two requests to some servers. So nothing that follows
    // a chunked body on the connection is taken for a request.
    let closes = request.headers().contains_key(TRANSFER_ENCODING);
    let has_two_lengths = closes && request.headers().contains_key(CONTENT_LENGTH);
    let mut response = match service.public(request.method(), request.uri().path(), has_body(&request)).await
    {
        _ if has_two_lengths => Refusal::code(StatusCode::BAD_REQUEST, "two_lengths").into_response(),
        Some(response) => response,
        None => service.authorized(request).await.unwrap_or_else(Refusal::into_response),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(id) = request_id {
        headers.insert(REQUEST_ID, id);
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(progress) = &progress {
        progress.waits();
    }
    response
}

/// Returns the id that the caller gave, or a new one.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    match given {
        Some(id) => Some(id.clone()),
        // 128 random bits. They have nothing to do with a lease.
        None => {
            let bits = u128::from_be_bytes(LeaseId::random().ok()?.to_bytes());
            HeaderValue::from_str(&format!("req_{bits:032x}")).ok()
        }
    }
}

impl Service {
    /// Returns the reply to a call that needs no authorization.
    async fn public(&self, method: &Method, path: &str, has_body: bool) -> Option<Response> {
        let is_on = match path {
            "/healthz" => self.healthz,
            "/metrics" => self.metrics,
            "/openapi.json" => true,
            _ => false,
        };
        if !is_on {
            return None;
        }
        if *method != Method::GET {
            return Some(Refusal::no_method("GET".to_owned()).closing_if(has_body).into_response());
        }
        Some(match path {
            "/healthz" => self.health().await.unwrap_or_else(Refusal::into_response),
            "/metrics" => {
                let mut response = self.replies.text(&self.engine.stats()).into_response();
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            _ => reply(openapi::document()).unwrap_or_else(Refusal::into_response),
        })
    }

    /// Replies with 200 if the store returns its time, and otherwise with 503.
    async fn health(&self) -> Result<Response, Refusal> {
        timeout(self.store_timeout, self.engine.now()).await.map_err(|_| Refusal::unavailable())??;
        reply(&json!({ "ok": true }))
    }

    async fn authorized(&self, request: Request) -> Result<Response, Refusal> {
        let has_body = has_body(&request);
        let unread = |refusal: Refusal| refusal.closing_if(has_body);
        let caller = self.caller(request.headers()).map_err(unread)?;
        let route = routes::find(request.method(), request.uri().path()).map_err(unread)?;
        let answered = self.answer(caller, route, request).await;
        let status = answered.as_ref().map_or_else(Refusal::status, Response::status);
        self.replies.count(route.path, status);
        answered
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::no_bearer()) };
        let (scheme, key) = value.as_bytes().split_at_checked(7).ok_or_else(Refusal::no_bearer)?;
        let key = key.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"bearer ") || key.is_empty() {
            return Err(Refusal::no_bearer());
        }
        self.callers.find(key)
    }

    async fn answer(&self, caller: Caller, route: &Route, request: Request) -> Result<Response, Refusal> {
        if route.handler.is_for_operators() && !caller.may_operate {
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "API key lacks the operator right");
            return Err(refusal.closing_if(has_body(&request)));
        }
        let (parts, body) = request.into_parts();
        let tenant = caller.tenant;
        let limit = tenant.limits().max_result.saturating_add(REST_OF_BODY);
        let (body, _share) = self.bodies.read(&parts.headers, body, limit).await?;
        if let Some(progress) = parts.extensions.get::<Progress>() {
            progress.works();
        }
        let call = Call {
            tenant,
            headers: parts.headers,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body,
            store_timeout: self.store_timeout,
            secret: Arc::clone(&self.secret),
        };
        dispatch(route.handler, &call).await
    }
}

/// Returns whether a request has a body. A refusal that is sent before the body was read announces
/// the end of the connection, because the client would send its next request on it otherwise.
fn has_body(request: &Request) -> bool {
    !request.body().is_end_stream()
}

async fn dispatch(handler: Handler, call: &Call) -> Result<Response, Refusal> {
    match handler {
        Handler::Acquire => leases::acquire(call).await,
        Handler::Status => leases::status(call).await,
        Handler::Extend => leases::extend(call).await,
        Handler::Complete => leases::complete(call).await,
        Handler::Fail => leases::fail(call).await,
        Handler::Cancel => leases::cancel(call).await,
        Handler::Result => leases::result(call).await,
        Handler::Release => leases::release(call).await,
        Handler::Checkpoint => leases::checkpoint(call).await,
        Handler::List => leases::list(call).await,
        Handler::Forget => leases::forget(call).await,
        Handler::Resolve => leases::resolve(call).await,
        Handler::CheckLock => check_lock::check_lock(call).await,
        Handler::Usage => account::usage(call).await,
        Handler::UsageAll => account::usage_all(call).await,
        Handler::Me => account::me(call).await,
        Handler::Notifications => account::notifications(call).await,
        Handler::Metrics => account::metrics(call).await,
        Handler::NotBuilt => {
            let detail = json!({ "error": "not_implemented" });
            reply_with(StatusCode::NOT_IMPLEMENTED, &json!({ "detail": detail }))
        }
    }
}
