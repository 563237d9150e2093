//! What the API does while the store fails.

use std::sync::Arc;

use lessor_core::Store;
use lessor_testkit::{Fault, Faults, Level};
use serde_json::json;

use crate::server::{Server, shop};

/// Returns a server over a store with faults, and a lease on the key `k`.
async fn faulty() -> (Server, Faults, String) {
    let mut control = None;
    let server = Server::with(&shop(), |inner: Arc<dyn Store>| {
        let (store, faults) = Faults::over(inner, Level::Operations);
        control = Some(faults);
        store
    });
    let reply = server.call("POST", "/v1/ai/lease", r#"{"key":"k","ttl":60}"#).await.json();
    let id = reply["lease_id"].as_str().unwrap().to_owned();
    (server, control.unwrap(), id)
}

fn body(id: &str) -> String {
    json!({ "key": "k", "lease_id": id, "error_code": "fn_error" }).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_delivered_although_the_store_is_unavailable_for_a_while() {
    let (server, faults, id) = faulty().await;
    faults.script([Fault::Unavailable, Fault::LostRequest, Fault::Unavailable, Fault::LostReply]);
    let reply = server.call("POST", "/v1/ai/complete", body(&id)).await;
    assert_eq!(reply.json(), json!({ "ok": true, "status": "completed", "key": "k", "version": 2 }));
    assert_eq!(faults.injected(), 4);
    let reply = server.call("POST", "/v1/ai/fail", body(&id)).await;
    assert_eq!(reply.json(), json!({ "detail": { "error": "already_finished", "status": "completed" } }));
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_tried_for_three_seconds_before_503_and_other_calls_once() {
    for (path, fault, code) in [
        ("/v1/ai/complete", Fault::Unavailable, "unavailable"),
        ("/v1/ai/fail", Fault::LostRequest, "indeterminate"),
        ("/v1/ai/cancel", Fault::Unavailable, "unavailable"),
        ("/v1/ai/release", Fault::Unavailable, "unavailable"),
    ] {
        let (server, faults, id) = faulty().await;
        faults.script([fault; 1000]);
        let begun = tokio::time::Instant::now();
        let reply = server.call("POST", path, body(&id)).await;
        assert_eq!(reply.json(), json!({ "detail": { "error": code } }), "{path}");
        assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (503, &"1".parse().unwrap()));
        // The time of the test stands still but for the pauses of the server.
        let tried = begun.elapsed().as_millis();
        assert!((2500..=3000).contains(&tried), "{path}: {tried} ms");
        faults.clear();
        assert_eq!(server.call("POST", path, body(&id)).await.status, 200, "{path}");
    }
    let (server, faults, id) = faulty().await;
    faults.script([Fault::Unavailable]);
    assert_eq!(server.call("POST", "/v1/ai/extend", body(&id)).await.status, 503);
    faults.script([Fault::Unavailable]);
    let reply = server.call("POST", "/v1/ai/lease", r#"{"key":"l"}"#).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (503, json!({ "detail": { "error": "unavailable" } })));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_ends_a_call_with_503() {
    let (server, faults, id) = faulty().await;
    for (method, path, code) in [
        ("GET", "/v1/ai/status?key=k", "unavailable"),
        ("GET", "/v1/ai/result?key=k", "unavailable"),
        ("POST", "/v1/ai/complete", "indeterminate"),
        ("POST", "/v1/ai/checkpoint", "indeterminate"),
    ] {
        faults.script([Fault::HeldRequest]);
        let body = json!({ "key": "k", "lease_id": id, "checkpoint": "" }).to_string();
        let reply = server.call(method, path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (503, json!({ "detail": { "error": code } })),
            "{path}"
        );
    }
}
