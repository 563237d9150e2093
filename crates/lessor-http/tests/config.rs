//! Settings that are refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use lessor_core::Engine;
use lessor_http::{Config, KeyHash, router};
use lessor_memory::MemoryStore;

#[test]
fn a_refused_setting_is_named_by_its_line_or_field() {
    let hash = KeyHash::of("secret").to_string();
    for (text, place) in [
        ("health = true".to_owned(), "line 1"),
        ("\n[namespaces.a]\nquotas = {}".to_owned(), "line 3"),
        ("[namespaces.a]\nkeys = [{ sha256 = \"secret\" }]".to_owned(), "64 hexadecimal digits"),
        (format!("[namespaces.a]\nkeys = [{{ sha256 = \"{hash}\", admin = true }}]"), "line 2"),
        ("[namespaces.a]\nduplicate_status = 404".to_owned(), "namespaces.a.duplicate_status"),
        ("[namespaces.a]\non_lapsed = \"Reconcile\"".to_owned(), "namespaces.a.on_lapsed"),
        ("[namespaces.a]\nplan = \"a\\nb\"".to_owned(), "namespaces.a.plan"),
        ("[namespaces.\"lock:a\"]".to_owned(), "namespaces.lock:a"),
        ("[namespaces.\"\"]".to_owned(), "1 to 59"),
        (format!("[namespaces.{}]", "a".repeat(60)), "1 to 59"),
        ("[server]\nmax_connections = 0".to_owned(), "server.max_connections"),
        ("[server]\nhead_timeout = \"0s\"".to_owned(), "server.head_timeout"),
        ("[server]\nbody_timeout = \"2h\"".to_owned(), "server.body_timeout"),
        (format!("any_key = true\n[namespaces.a]\nkeys = [{{ sha256 = \"{hash}\" }}]"), "any_key"),
        (
            format!(
                "[namespaces.a]\nkeys = [{{ sha256 = \"{hash}\" }}]\n[namespaces.b]\nkeys = [{{ sha256 = \"{hash}\" }}]"
            ),
            "namespaces.b.keys[0].sha256",
        ),
    ] {
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(place), "{text}\n{error}");
    }
}

#[test]
fn limits_that_the_engine_refuses_are_named_by_their_namespace() {
    let config = Config::from_toml("any_key = true\n[namespaces.a]\nlimits = { max_ttl = \"1s\" }").unwrap();
    let engine = Engine::new(Arc::new(MemoryStore::new())).unwrap();
    let error = router(&engine, &config).unwrap_err().to_string();
    assert!(error.contains("namespaces.a") && error.contains("default_ttl"), "{error}");
}

#[test]
fn no_key_and_no_hash_is_shown_by_debug() {
    let hash = KeyHash::of("secret").to_string();
    let text = format!("[namespaces.a]\nkeys = [{{ sha256 = \"{hash}\" }}]");
    let shown = format!("{:?}", Config::from_toml(&text).unwrap());
    assert!(!shown.contains(&hash[..8]), "{shown}");
}
