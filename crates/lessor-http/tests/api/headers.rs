//! Authorization, and the headers of replies.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use serde_json::json;

use crate::server::{Reply, Server, shop};

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

#[tokio::test]
async fn a_call_without_exactly_one_bearer_key_is_refused() {
    let server = Server::new();
    let bare = request("GET", "/v1/nowhere").body(Body::empty()).unwrap();
    let twice = request("GET", "/v1/nowhere").header("authorization", "Bearer key-shop");
    let twice = twice.header("authorization", "Bearer key-shop").body(Body::empty()).unwrap();
    let mut requests = vec![bare, twice];
    for value in ["", "Bearer", "Bearer ", "Bearer  ", "Basic a2V5", "key-shop", "Bearerkey-shop"] {
        let request = request("POST", "/v1/ai/lease").header("authorization", value);
        requests.push(request.body(Body::from("{")).unwrap());
    }
    for request in requests {
        let reply = server.send(request).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json(), json!({ "detail": "Missing Authorization Bearer token" }));
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn the_scheme_is_taken_in_any_case_and_the_key_in_its_own() {
    let server = Server::new();
    for (value, status) in [
        ("bearer key-shop", 200),
        ("BEARER  key-shop ", 200),
        ("Bearer KEY-SHOP", 403),
        ("Bearer key-shop2", 403),
        ("Bearer key-sho", 403),
    ] {
        let reply = server
            .send(request("GET", "/v1/me").header("authorization", value).body(Body::empty()).unwrap())
            .await;
        assert_eq!(reply.status, status, "{value}");
    }
    let bytes = HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    let reply = server
        .send(request("GET", "/v1/me").header("authorization", bytes).body(Body::empty()).unwrap())
        .await;
    assert_eq!((reply.status.as_u16(), reply.json()), (403, json!({ "detail": "Invalid API key" })));
}

#[tokio::test]
async fn every_reply_has_the_callers_request_id_or_a_new_one_and_is_not_stored() {
    let server = Server::new();
    for (given, kept) in
        [("abc-1~", true), (&"x".repeat(128), true), (&"x".repeat(129), false), ("a b", false), ("", false)]
    {
        for path in ["/v1/me", "/v1/nowhere", "/healthz", "/openapi.json"] {
            let request = request("GET", path).header("authorization", "Bearer key-shop");
            let reply = server.send(request.header("x-request-id", given).body(Body::empty()).unwrap()).await;
            let id = reply.headers["x-request-id"].to_str().unwrap();
            assert_eq!(id == given, kept, "{given}: {id}");
            assert_eq!(reply.headers["cache-control"], "no-store");
        }
    }
    let ids = [server.call("GET", "/v1/me", "").await, server.call("GET", "/v1/me", "").await];
    assert_ne!(ids[0].headers["x-request-id"], ids[1].headers["x-request-id"]);
}

#[tokio::test]
async fn every_method_but_that_of_the_table_is_refused_with_those_of_the_table() {
    let server = Server::new();
    for (path, allowed) in
        [("/v1/ai/status", "GET"), ("/v1/ai/lease", "POST"), ("/v1/tools/a", "GET, DELETE")]
    {
        for method in ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "BREW"] {
            let reply = server.call(method, path, "").await;
            assert_eq!((reply.status.as_u16(), &reply.headers["allow"]), (405, &allowed.parse().unwrap()));
        }
    }
    let reply = server.call("POST", "/healthz", "").await;
    assert_eq!((reply.status.as_u16(), &reply.headers["allow"]), (405, &HeaderValue::from_static("GET")));
}

#[tokio::test]
async fn locks_usage_and_unavailability_have_their_headers() {
    let server = Server::new();
    let lock = r#"{"key":"k"}"#;
    assert_eq!(server.call("POST", "/v1/check-lock", lock).await.headers["x-onceonly-status"], "locked");
    assert_eq!(server.call("POST", "/v1/check-lock", lock).await.headers["x-onceonly-status"], "duplicate");
    for path in ["/v1/usage", "/v1/usage/all"] {
        let headers = server.call("GET", path, "").await.headers;
        assert_eq!(
            (&headers["x-onceonly-plan"], &headers["x-onceonly-month"]),
            (&"starter".parse().unwrap(), &"2025-01".parse().unwrap())
        );
    }
    let headers = server.call("GET", "/v1/me", "").await.headers;
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn health_metrics_and_the_document_need_no_key_and_are_off_unless_configured() {
    let bare = |path: &str| request("GET", path).body(Body::empty()).unwrap();
    let server = Server::new();
    server.call("POST", "/v1/ai/lease", r#"{"key":"secret key"}"#).await;
    server.call("POST", "/v1/ai/lease", r#"{"key":"secret key","ttl":0}"#).await;
    assert_eq!(server.send(bare("/healthz")).await.json(), json!({ "ok": true }));
    let metrics = server.send(bare("/metrics")).await;
    for line in [
        "lessor_http_replies_total{path=\"/v1/ai/lease\",status=\"200\"} 1",
        "lessor_http_replies_total{path=\"/v1/ai/lease\",status=\"422\"} 1",
        "lessor_first_grants_total 1",
    ] {
        assert!(metrics.text.lines().any(|found| found == line), "{line}\n{}", metrics.text);
    }
    assert!(!metrics.text.contains("secret") && !metrics.text.contains("lease_"));
    assert_eq!(server.send(bare("/openapi.json")).await.status, 200);

    let server = Server::with(&shop(), |store| store);
    for path in ["/healthz", "/metrics"] {
        assert_eq!(server.send(bare(path)).await.status, 401);
        assert_eq!(server.call("GET", path, "").await.status, 404);
    }
}

#[tokio::test]
async fn any_key_is_taken_for_the_default_namespace_only_if_that_is_asked_for() {
    let engine = Server::new().engine;
    let error = lessor_http::router(&engine, &lessor_http::Config::new()).unwrap_err();
    assert!(error.to_string().contains("any_key"), "{error}");
    let server = Server::with(&lessor_http::Config::new().any_key(), |store| store);
    let me = server.call_as("whoever", "GET", "/v1/me", "").await.json();
    assert_eq!(me["namespace"], "default");
    assert_eq!(server.send(request("GET", "/v1/me").body(Body::empty()).unwrap()).await.status, 401);
    assert_eq!(server.call_as("whoever", "POST", "/v1/ai/forget", r#"{"key":"k"}"#).await.status, 404);
}

#[tokio::test]
async fn a_reply_before_the_body_was_read_announces_the_end_of_the_connection() {
    let server = Server::new();
    let closes = |reply: &Reply| reply.headers.get("connection").is_some_and(|value| value == "close");
    for (caller, method, path, status) in [
        ("wrong", "POST", "/v1/ai/lease", 403),
        ("shop", "POST", "/v1/nowhere", 404),
        ("shop", "PUT", "/v1/ai/lease", 405),
        ("shop", "POST", "/healthz", 405),
    ] {
        for (body, expected) in [("{}", true), ("", false)] {
            let reply = server.call_as(caller, method, path, body).await;
            assert_eq!((reply.status.as_u16(), closes(&reply)), (status, expected), "{path} {body:?}");
        }
    }
    let forget = server.call("POST", "/v1/ai/forget", "{}").await;
    assert_eq!((forget.status.as_u16(), closes(&forget)), (403, true));
    for (method, path) in [("POST", "/v1/ai/lease"), ("GET", "/v1/me"), ("GET", "/v1/ai/status")] {
        assert!(!closes(&server.call(method, path, "{}").await), "{method} {path}");
    }
}
