//! Long polls.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::server::Server;

async fn lease(server: &Server) -> String {
    let reply = server.call("POST", "/v1/ai/lease", r#"{"key":"k","ttl":60}"#).await.json();
    reply["lease_id"].as_str().unwrap().to_owned()
}

/// Begins a long poll, which waits once this returns.
async fn poll(server: &Server, wait: u64) -> JoinHandle<Value> {
    let polling = server.clone();
    let path = format!("/v1/ai/status?key=k&wait={wait}");
    let waiting = server.engine.stats().waiting;
    let task = tokio::spawn(async move { polling.call("GET", &path, "").await.json() });
    // Other tasks run meanwhile. A reply without a wait ends the loop as well.
    for _ in 0..100 {
        if server.engine.stats().waiting > waiting || task.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_next_change_of_the_state_or_version() {
    let server = Server::new();
    let id = lease(&server).await;
    for (path, status, version) in [
        ("/v1/ai/extend", "in_progress", 2),
        ("/v1/ai/checkpoint", "in_progress", 3),
        ("/v1/ai/complete", "completed", 4),
    ] {
        let polled = poll(&server, 30).await;
        let body = json!({ "key": "k", "lease_id": id, "checkpoint": "" }).to_string();
        assert_eq!(server.call("POST", path, body).await.status, 200);
        let reply = polled.await.unwrap();
        assert_eq!((&reply["status"], &reply["version"]), (&json!(status), &json!(version)), "{path}");
    }
    // The key is finished, so nothing is waited for.
    assert_eq!(poll(&server, 30).await.await.unwrap()["status"], "completed");
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_lease_lapses_and_when_its_time_is_over() {
    let server = Server::new();
    lease(&server).await;
    let polled = poll(&server, 10).await;
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(polled.await.unwrap()["ttl_left"], 50);
    server.clock.advance(Duration::from_secs(25));
    let polled = poll(&server, 30).await;
    server.clock.advance(Duration::from_secs(25));
    assert_eq!(polled.await.unwrap()["status"], "expired");
}
