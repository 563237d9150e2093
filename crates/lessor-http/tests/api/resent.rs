//! Requests that are sent again with the header `Idempotency-Key`.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::server::{Reply, Server, config};

async fn lease(server: &Server, caller: &str, body: &str, keys: &[&str]) -> Reply {
    let mut request = Request::post("/v1/ai/lease").header("authorization", format!("Bearer key-{caller}"));
    for key in keys {
        request = request.header("idempotency-key", *key);
    }
    server.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_request_with_the_same_idempotency_key_gets_the_same_grant_after_a_restart_too() {
    let server = Server::new();
    let body = r#"{"key":"k","ttl":60}"#;
    let first = lease(&server, "shop", body, &["abc"]).await.json();
    let again = lease(&server, "shop", body, &["abc"]).await.json();
    assert_eq!((&first["charged"], &again["charged"]), (&json!(1), &json!(0)));
    assert_eq!((&first["lease_id"], &first["token"]), (&again["lease_id"], &again["token"]));
    assert_eq!(lease(&server, "shop", body, &["abd"]).await.json()["status"], "polling");
    let router = lessor_http::router(&server.engine, &config()).unwrap();
    let restarted = Server { router, ..server.clone() };
    assert_eq!(lease(&restarted, "shop", body, &["abc"]).await.json()["lease_id"], first["lease_id"]);

    let mut ids = vec![first["lease_id"].clone()];
    ids.push(lease(&server, "other", body, &["abc"]).await.json()["lease_id"].clone());
    ids.push(lease(&server, "shop", r#"{"key":"l"}"#, &["abc"]).await.json()["lease_id"].clone());
    ids.push(lease(&Server::new(), "shop", body, &["abc"]).await.json()["lease_id"].clone());
    for (at, id) in ids.iter().enumerate() {
        assert!(
            id.is_string() && !ids[..at].contains(id),
            "an id depends on the namespace, the key and the secret"
        );
    }
}

#[tokio::test]
async fn an_idempotency_key_of_another_form_is_refused() {
    let server = Server::new();
    let long = "x".repeat(129);
    for keys in [&["a b"][..], &[""], &["a", "a"], &[&long]] {
        assert_eq!(lease(&server, "shop", r#"{"key":"k"}"#, keys).await.status, 422, "{keys:?}");
    }
    let body = r#"{"key":"k","lease_id":"lease_0123456789abcdef0123456789abcdef"}"#;
    assert_eq!(lease(&server, "shop", body, &["a"]).await.status, 422);
    let longest = "~".repeat(128);
    assert_eq!(lease(&server, "shop", r#"{"key":"k"}"#, &[&longest]).await.json()["status"], "acquired");
}
