//! Sizes, depths and numbers.

use serde_json::json;

use crate::server::Server;

async fn lease(server: &Server, caller: &str, key: &str) -> String {
    let reply =
        server.call_as(caller, "POST", "/v1/ai/lease", json!({ "key": key }).to_string()).await.json();
    reply["lease_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn results_and_metadata_come_back_as_they_were_sent_but_for_blanks() {
    let server = Server::new();
    let sent = r#"{ "z" : [18446744073709551616, 1e400, -0.0], "a" : "\u00e9 é" }"#;
    let kept = r#"{"z":[18446744073709551616,1e400,-0.0],"a":"\u00e9 é"}"#;
    let request = format!("{{\"key\":\"k\",\"metadata\":{sent},\"lease_id\":\"lease_{}\"}}", "0".repeat(32));
    server.call("POST", "/v1/ai/lease", request).await;
    let request = format!("{{\"key\":\"k\",\"result\":{sent},\"lease_id\":\"lease_{}\"}}", "0".repeat(32));
    assert_eq!(server.call("POST", "/v1/ai/complete", request).await.status, 200);
    let status = server.call("GET", "/v1/ai/status?key=k", "").await.text;
    assert!(status.contains(&format!("\"metadata\":{kept}")), "{status}");
    let result = server.call("GET", "/v1/ai/result?key=k", "").await.text;
    assert!(result.contains(&format!("\"result\":{kept}")), "{result}");
    for value in ["null", "7", "\"text\"", "[]", "true", "{}"] {
        let id = lease(&server, "shop", value).await;
        let body = format!("{{\"key\":{},\"lease_id\":\"{id}\",\"result\":{value}}}", json!(value));
        assert_eq!(server.call("POST", "/v1/ai/complete", body).await.status, 200);
        let key = value.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        let result = server.call("GET", &format!("/v1/ai/result?key={key}"), "").await.text;
        assert!(result.contains(&format!("\"result\":{value},")), "{result}");
    }
}

#[tokio::test]
async fn a_result_of_60_levels_is_taken_and_one_of_200_is_refused() {
    let server = Server::new();
    for (depth, status) in [(60, 200), (127, 200), (128, 422), (200, 422)] {
        let key = format!("{depth} levels");
        let id = lease(&server, "shop", &key).await;
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let body = format!("{{\"key\":\"{key}\",\"lease_id\":\"{id}\",\"result\":{open}{close}}}");
        assert_eq!(server.call("POST", "/v1/ai/complete", body).await.status, status, "{depth}");
    }
}

#[tokio::test]
async fn values_over_a_limit_are_refused_by_name() {
    let server = Server::new();
    let id = lease(&server, "strict", "k").await;
    for (length, status) in [(256, 200), (257, 422)] {
        let body = json!({ "key": "é".repeat(length) }).to_string();
        assert_eq!(server.call_as("strict", "POST", "/v1/ai/lease", body).await.status, status);
    }
    for (length, status) in [(2040, 200), (2041, 422)] {
        let body = json!({ "key": "metadata", "metadata": { "a": "x".repeat(length) } }).to_string();
        assert_eq!(server.call_as("strict", "POST", "/v1/ai/lease", body).await.status, status);
    }
    for (call, field, longest, status) in [
        ("complete", "result_hash", 128, 422),
        ("fail", "error_code", 256, 422),
        ("cancel", "reason", 247, 422),
    ] {
        let body = json!({ "key": "k", "lease_id": id, field: "x".repeat(longest + 1) }).to_string();
        let reply = server.call_as("strict", "POST", &format!("/v1/ai/{call}"), body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["detail"][0]["loc"][1]), (status, &json!(field)));
    }
    let body = json!({ "key": "k", "lease_id": id, "result": "x".repeat(999) }).to_string();
    let reply = server.call_as("strict", "POST", "/v1/ai/complete", body).await;
    let detail = &reply.json()["detail"];
    assert_eq!(
        (reply.status.as_u16(), &detail["error"], &detail["limit"]),
        (413, &json!("result_too_large"), &json!(1000))
    );
    let body = json!({ "key": "k", "lease_id": id, "result": "x".repeat(998) }).to_string();
    assert_eq!(server.call_as("strict", "POST", "/v1/ai/complete", body).await.status, 200);
    let id = lease(&server, "strict", "canceled").await;
    let body = json!({ "key": "canceled", "lease_id": id, "reason": "x".repeat(247) }).to_string();
    assert_eq!(server.call_as("strict", "POST", "/v1/ai/cancel", body).await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_parsed_and_after_the_key_is_checked() {
    let server = Server::new();
    let limit = 1000 + (64 << 10);
    for (length, status) in [(limit, 422), (limit + 1, 413)] {
        let reply = server.call_as("strict", "POST", "/v1/ai/lease", vec![b'['; length]).await;
        assert_eq!(reply.status, status, "{length}");
    }
    let reply = server.call_as("strict", "POST", "/v1/ai/lease", vec![0xff; 2 << 20]).await;
    let detail = &reply.json()["detail"];
    assert_eq!((&detail["error"], &detail["limit"]), (&json!("body_too_large"), &json!(limit)));
    assert_eq!(reply.headers["connection"], "close");
    assert_eq!(server.call_as("nobody", "POST", "/v1/ai/lease", vec![0xff; 2 << 20]).await.status, 403);
    assert_eq!(server.call_as("strict", "POST", "/v1/nowhere", vec![0xff; 2 << 20]).await.status, 404);
}

#[tokio::test]
async fn p12_no_bytes_of_a_body_cause_anything_but_a_refusal() {
    let server = Server::new();
    for byte in 0..=u8::MAX {
        for body in [vec![byte], vec![b'{', byte], [br#"{"key":""#, &[byte][..], br#""}"#].concat()] {
            let reply = server.call("POST", "/v1/ai/lease", body.clone()).await;
            let is_text = std::str::from_utf8(&body).is_ok();
            assert!(
                matches!(reply.status.as_u16(), 200 | 422) && (is_text || reply.status == 422),
                "{body:?}"
            );
        }
    }
}
