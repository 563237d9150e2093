//! The API in the process of the test, over the in-memory store on a manual clock.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use lessor_core::{Engine, Store, Timestamp};
use lessor_http::{ApiKey, Config, Namespace, router};
use lessor_memory::MemoryStore;
use lessor_testkit::ManualClock;
use serde_json::Value;
use tower::ServiceExt as _;

/// 2025-01-15T10:30:00.9Z.
const START: u64 = 1_736_937_000_900_000;

/// The namespaces of the tests. Each caller has a key `key-` and its name.
pub(crate) const CALLERS: &[&str] = &["shop", "operator", "other", "doubtful", "poor", "strict"];

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) clock: ManualClock,
    pub(crate) engine: Engine,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }
}

pub(crate) fn config() -> Config {
    let text = r#"
        healthz = true
        metrics = true
        [namespaces.shop]
        plan = "starter"
        keys = [{ sha256 = "SHOP" }, { sha256 = "OPERATOR", operator = true }, { sha256 = "DISABLED", disabled = true }]
        [namespaces.other]
        keys = [{ sha256 = "OTHER" }]
        [namespaces.doubtful]
        on_lapsed = "InDoubt"
        keys = [{ sha256 = "DOUBTFUL", operator = true }]
        [namespaces.poor]
        plan = "free"
        upgrade_url = "https://example.com/plans"
        quota = { ai = 1, make = 1 }
        keys = [{ sha256 = "POOR" }]
        [namespaces.strict]
        duplicate_status = 409
        limits = { default_ttl = "60s", max_ttl = "1h", max_result = 1000 }
        keys = [{ sha256 = "STRICT" }]
    "#;
    let mut text = text.to_owned();
    for caller in CALLERS.iter().chain(&["disabled"]) {
        let hash = lessor_http::KeyHash::of(&format!("key-{caller}")).to_string();
        text = text.replace(&format!("\"{}\"", caller.to_uppercase()), &format!("{hash:?}"));
    }
    Config::from_toml(&text).unwrap()
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(&config(), |store| store)
    }

    /// Returns a server over a store that `wrap` changes.
    pub(crate) fn with(config: &Config, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_micros(START).unwrap());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        let engine = Engine::new(clock.driving(wrap(store))).unwrap();
        Self { router: router(&engine, config).unwrap(), clock, engine }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Reply {
        self.call_as("shop", method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        caller: &str,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Reply {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer key-{caller}"));
        self.send(request.body(body.into()).unwrap()).await
    }
}

/// Returns the settings of a namespace `shop` with one key, `key-shop`.
pub(crate) fn shop() -> Config {
    let mut shop = Namespace::default();
    shop.keys.push(ApiKey::of("key-shop"));
    Config::new().namespace("shop", shop)
}
