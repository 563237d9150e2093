//! The table of all calls. It decides which handler is called, and which paths the OpenAPI document
//! has.

use axum::http::Method;

use crate::error::Refusal;

/// A call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    Acquire,
    Status,
    Extend,
    Complete,
    Fail,
    Cancel,
    Result,
    Release,
    Checkpoint,
    List,
    Forget,
    Resolve,
    CheckLock,
    Usage,
    UsageAll,
    Me,
    Notifications,
    Metrics,
    /// A call that is not implemented.
    NotBuilt,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// A segment in braces stands for any segment.
    pub(crate) path: &'static str,
    pub(crate) handler: Handler,
}

const fn get(path: &'static str, handler: Handler) -> Route {
    Route { method: Method::GET, path, handler }
}

const fn post(path: &'static str, handler: Handler) -> Route {
    Route { method: Method::POST, path, handler }
}

pub(crate) static ROUTES: &[Route] = &[
    post("/v1/ai/lease", Handler::Acquire),
    get("/v1/ai/status", Handler::Status),
    post("/v1/ai/extend", Handler::Extend),
    post("/v1/ai/complete", Handler::Complete),
    post("/v1/ai/fail", Handler::Fail),
    post("/v1/ai/cancel", Handler::Cancel),
    get("/v1/ai/result", Handler::Result),
    post("/v1/ai/release", Handler::Release),
    post("/v1/ai/checkpoint", Handler::Checkpoint),
    get("/v1/ai/leases", Handler::List),
    post("/v1/ai/forget", Handler::Forget),
    post("/v1/ai/resolve", Handler::Resolve),
    post("/v1/check-lock", Handler::CheckLock),
    get("/v1/usage", Handler::Usage),
    get("/v1/usage/all", Handler::UsageAll),
    get("/v1/me", Handler::Me),
    post("/v1/me/notifications", Handler::Notifications),
    get("/v1/metrics", Handler::Metrics),
    post("/v1/ai/run", Handler::NotBuilt),
    post("/v1/events", Handler::NotBuilt),
    get("/v1/events", Handler::NotBuilt),
    get("/v1/runs", Handler::NotBuilt),
    get("/v1/runs/{run_id}", Handler::NotBuilt),
    get("/v1/policies", Handler::NotBuilt),
    get("/v1/policies/templates", Handler::NotBuilt),
    get("/v1/policies/{agent}", Handler::NotBuilt),
    post("/v1/policies/{agent}", Handler::NotBuilt),
    post("/v1/policies/{agent}/from-template", Handler::NotBuilt),
    get("/v1/tools", Handler::NotBuilt),
    post("/v1/tools", Handler::NotBuilt),
    get("/v1/tools/{name}", Handler::NotBuilt),
    Route { method: Method::DELETE, path: "/v1/tools/{name}", handler: Handler::NotBuilt },
    post("/v1/tools/{name}/toggle", Handler::NotBuilt),
    post("/v1/agents/{agent}/disable", Handler::NotBuilt),
    post("/v1/agents/{agent}/enable", Handler::NotBuilt),
    get("/v1/agents/{agent}/logs", Handler::NotBuilt),
    get("/v1/agents/{agent}/metrics", Handler::NotBuilt),
];

impl Handler {
    /// Returns whether the call needs the right of an operator.
    pub(crate) fn is_for_operators(self) -> bool {
        matches!(self, Self::Forget | Self::Resolve)
    }
}

/// Returns the call with this method and path. The path is not decoded.
pub(crate) fn find(method: &Method, path: &str) -> Result<&'static Route, Refusal> {
    let mut allow = Vec::new();
    for route in ROUTES.iter().filter(|route| matches(route.path, path)) {
        if route.method == *method {
            return Ok(route);
        }
        if !allow.contains(&route.method.as_str()) {
            allow.push(route.method.as_str());
        }
    }
    if allow.is_empty() { Err(Refusal::no_route()) } else { Err(Refusal::no_method(allow.join(", "))) }
}

fn matches(route: &str, path: &str) -> bool {
    let (mut expected, mut given) = (route.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return true,
            (Some(expected), Some(given))
                if expected == given || expected.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}
